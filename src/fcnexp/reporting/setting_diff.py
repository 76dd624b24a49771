"""Settings side by side: in what they differ, and what of that must be told."""

import json
from collections.abc import Sequence
from typing import Any

from fcnexp.config.identity import counted
from fcnexp.reporting.records import Run


def what_tells_apart(runs: Sequence[Run]) -> list[dict[str, str]]:
    """For each run, one of each setting, the keys in which they differ, and its values as typed.

    A group's option stands for all keys that follow from it, and an experiment for the options that
    do, unless they were typed, too. Where a record does not have the options, as that of
    `evaluate`, keys stand for themselves.
    """
    recorded = all("choices" in run.result for run in runs)
    choices = [run.result["choices"] if recorded else {} for run in runs]
    configs = [_flat(_setting(run.config)) for run in runs]
    every_typed = {key for run in runs for key in run.result.get("typed", ())}
    typed = every_typed - {*_keys(choices)}
    groups: dict[str, list[Any]] = {}
    for group in _keys(choices):
        options = [chosen.get(group) for chosen in choices]
        if _differ(options):
            groups[group] = options
    if rows := groups.get("experiment"):  # it chooses options of other groups, too
        groups = {
            group: options
            for group, options in groups.items()
            if group in ("experiment", *every_typed) or not _follows(options, rows)
        }
    told = list(groups.items())
    for key in _keys(configs):
        values = [config.get(key) for config in configs]
        if not _differ(values):
            continue
        was_typed = any(key == name or key.startswith(f"{name}.") for name in typed)
        options_of = [groups[g] for g in (key.split(".")[0], "experiment") if g in groups]
        if was_typed or not any(_follows(values, options) for options in options_of):
            told.append((key, values))
    known = {*_keys(configs), *_keys(choices)}
    return [
        {_short(k, known): _shown(k, values[i]) for k, values in told} for i in range(len(runs))
    ]


def all_differences(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Every key in which the settings differ, and its value in each; `-` where one lacks it."""
    configs = [_flat(_setting(run.config)) for run in runs]
    differing: dict[str, list[str]] = {}
    for key in _keys(configs):
        values = [config.get(key) for config in configs]
        if _differ(values):
            lacks = [key not in config for config in configs]
            differing[key] = [
                "-" if no else _shown(key, v) for no, v in zip(lacks, values, strict=True)
            ]
    return differing


def identity(config: dict[str, Any]) -> str:
    """What two configs share if they are one setting, whatever their seeds."""
    return json.dumps(_setting(config), sort_keys=True, default=str)


def _setting(config: dict[str, Any]) -> dict[str, Any]:
    """What makes another row of a run: all that counts, but the seed."""
    return {key: value for key, value in counted(config).items() if key != "seed"}


def _follows(values: list[Any], options: list[Any]) -> bool:
    """Whether the same option always comes with the same value."""
    seen: dict[Any, Any] = {}
    return all(seen.setdefault(o, v) == v for o, v in zip(options, values, strict=True))


def _differ(values: list[Any]) -> bool:
    return any(value != values[0] for value in values)


def _keys(dicts: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for each in dicts for key in each))


def _flat(node: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Leaves by dotted path."""
    leaves: dict[str, Any] = {}
    for key, value in node.items():
        inner = isinstance(value, dict) and value
        leaves |= _flat(value, f"{path}{key}.") if inner else {f"{path}{key}": value}
    return leaves


def _short(key: str, known: set[str]) -> str:
    """The key without what comes before its last names, as far as no other key ends like that."""
    names = key.removesuffix("._target_").split(".")
    for count in range(1, len(names)):
        end = ".".join(names[-count:])
        if not any(k != key and (k == end or k.endswith(f".{end}")) for k in known):
            return end
    return ".".join(names)


def _shown(key: str, value: Any) -> str:
    """A value as it is typed; of a `_target_` the last name."""
    if isinstance(value, str):
        return value.rpartition(".")[2] if key.endswith("._target_") else value
    return json.dumps(value, default=str)
