"""Differences between settings, and the shortest names that distinguish them."""

import json
from collections.abc import Sequence
from typing import Any

from fcnexp.config.identity import counted
from fcnexp.reporting.records import Run


def distinguishing_settings(runs: Sequence[Run]) -> list[dict[str, str]]:
    """For each run, the settings that distinguish it from the others, as typed, by short key.

    runs: one per setting. A group's option stands for all keys that it determines, and an
    experiment for all options that it determines, unless they were also typed. If a record has no
    options, as from `evaluate`, keys are listed individually.
    """
    recorded = all("choices" in run.result for run in runs)
    choices = [run.result["choices"] if recorded else {} for run in runs]
    configs = [_flat(_setting(run.config)) for run in runs]
    typed = {key for run in runs for key in run.result.get("typed", ())}
    options = _differing(choices)
    if experiments := options.get("experiment"):
        options = {
            group: values
            for group, values in options.items()
            if group in ("experiment", *typed) or not _determined(values, experiments)
        }
    typed_keys = typed - {*_keys(choices)}
    known = {*_keys(configs), *_keys(choices)}
    differing = options | {
        key: values
        for key, values in _differing(configs).items()
        if any(f"{key}.".startswith(f"{name}.") for name in typed_keys)
        or not _implied(key, values, options)
    }
    shown = {_short(key, known): _all_shown(key, values) for key, values in differing.items()}
    return [{key: values[i] for key, values in shown.items()} for i in range(len(runs))]


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
    """True if the key's group option or the experiment determines its value."""
    groups = (key.split(".")[0], "experiment")
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


def _all_shown(key: str, values: Sequence[Any]) -> list[str]:
    """Values as typed, or numbers with as few digits, at least three, as keep them apart."""
    typed = [_shown(key, value) for value in values]
    for digits in range(3, 17):
        short = [_rounded(v, digits) or t for v, t in zip(values, typed, strict=True)]
        if len(set(short)) == len(set(typed)):
            return short
    return typed


def _rounded(value: Any, digits: int) -> str | None:
    """A number that has more digits, as `repr` would write it with so many; None if it has not."""
    if not isinstance(value, float) or float(f"{value:.{digits}g}") == value:
        return None
    return repr(float(f"{value:.{digits}g}"))


def _shown(key: str, value: Any) -> str:
    """A value as typed; for a `_target_`, the class name."""
    if isinstance(value, str):
        return value.rpartition(".")[2] if key.endswith("._target_") else value
    return json.dumps(value, default=str)
