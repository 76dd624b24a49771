"""Differences between settings, and the shortest names that distinguish them."""

import json
from collections.abc import Sequence
from typing import Any

from fcnexp.config.identity import counted
from fcnexp.reporting.records import Run

SEVERAL = ("experiment", "net")  # groups whose options choose those of others


def distinguishing_settings(runs: Sequence[Run]) -> list[dict[str, str]]:
    """For each run, the settings that distinguish it from the others, as typed, by short key.

    runs: one per setting. A group's option stands for all keys that it determines, and an
    experiment or net for all options that it determines, unless they were also typed. If a record
    has no options, as from `evaluate`, keys are listed individually.
    """
    recorded = all("choices" in run.result for run in runs)
    choices = [run.result["choices"] if recorded else {} for run in runs]
    configs = [_flat(_setting(run.config)) for run in runs]
    typed = {key for run in runs for key in run.result.get("typed", ())}
    options = _differing(choices)
    for several in (group for group in SEVERAL if group in options):
        options = {
            group: values
            for group, values in options.items()
            if group in (*SEVERAL, *typed) or not _determined(values, options[several])
        }
    typed_keys = typed - {*_keys(choices)}
    known = {*_keys(configs), *_keys(choices)}
    differing = options | {
        key: values
        for key, values in _differing(configs).items()
        if any(f"{key}.".startswith(f"{name}.") for name in typed_keys)
        or not _implied(key, values, options)
    }
    return [
        {_short(key, known): _shown(key, values[i]) for key, values in differing.items()}
        for i in range(len(runs))
    ]


def all_differences(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Every key in which the settings differ, with its value in each run; `-` if missing."""
    configs = [_flat(_setting(run.config)) for run in runs]
    return {
        key: [_shown(key, config[key]) if key in config else "-" for config in configs]
        for key in _differing(configs)
    }


def identity(config: dict[str, Any]) -> str:
    """A string that is equal for two configs if they differ in nothing that counts but the seed."""
    return json.dumps(_setting(config), sort_keys=True, default=str)


def _setting(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a config that affects results, without the seed."""
    return {key: value for key, value in counted(config).items() if key != "seed"}


def _implied(key: str, values: list[Any], options: dict[str, list[Any]]) -> bool:
    """True if the key's group option, the experiment or the net determines its value."""
    groups = (key.split(".")[0], *SEVERAL)
    return any(_determined(values, options[group]) for group in groups if group in options)


def _determined(values: list[Any], options: list[Any]) -> bool:
    """True if the same option always comes with the same value."""
    seen: dict[Any, Any] = {}
    return all(seen.setdefault(o, v) == v for o, v in zip(options, values, strict=True))


def _differing(dicts: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Values by key (None if missing), for the keys in which the dicts differ."""
    columns = {key: [each.get(key) for each in dicts] for key in _keys(dicts)}
    return {key: values for key, values in columns.items() if any(v != values[0] for v in values)}


def _keys(dicts: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for each in dicts for key in each))


def _flat(node: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Leaves of a nested dict by dotted path."""
    leaves: dict[str, Any] = {}
    for key, value in node.items():
        inner = isinstance(value, dict) and value
        leaves |= _flat(value, f"{path}{key}.") if inner else {f"{path}{key}": value}
    return leaves


def _short(key: str, known: set[str]) -> str:
    """The shortest dotted ending of a key that no other known key shares."""
    names = key.removesuffix("._target_").split(".")
    for count in range(1, len(names)):
        end = ".".join(names[-count:])
        if not any(k != key and (k == end or k.endswith(f".{end}")) for k in known):
            return end
    return ".".join(names)


def _shown(key: str, value: Any) -> str:
    """A value as typed; for a `_target_`, the class name."""
    if isinstance(value, str):
        return value.rpartition(".")[2] if key.endswith("._target_") else value
    return json.dumps(value, default=str)
