"""Runs side by side: one row for each setting, over its seeds, with what tells the rows apart."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from fcnexp.errors import DataError
from fcnexp.identity import counted
from fcnexp.reporting.paper import published
from fcnexp.reporting.records import Run


class Row(NamedTuple):
    """What one setting reached. Scores are fractions, means over seeds; None where there is none.

    told: value by key, as typed, for the keys that tell the rows apart. spread: sample standard
    deviation of the mean IU; None for a single seed. gain: mean IU less that of the row above.
    seconds: of training, mean. paper: mean IU in percent as published, with its mark if recalled.
    """

    told: dict[str, str]
    seeds: int
    scores: dict[str, float | None]
    spread: float | None
    gain: float | None
    seconds: float | None
    paper: str | None


class Comparison(NamedTuple):
    """Rows in the order of their first runs. repeats: runs left out, since their seed was there."""

    rows: list[Row]
    repeats: list[Path]


def compare(runs: Sequence[Run], mean_iu: Callable[[Run], float | None]) -> Comparison:
    """Group runs by their config, all but seeds and what changes no number.

    mean_iu: of a run, a fraction.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_identity(run.config), []).append(run)
    rows: list[Row] = []
    repeats: list[Path] = []
    told = _what_tells_apart([group[0] for group in groups.values()])
    for group, cells in zip(groups.values(), told, strict=True):
        by_seed: dict[Any, Run] = {}
        for run in group:
            if by_seed.setdefault(run.config.get("seed"), run) is not run:
                repeats.append(run.folder)
        rows.append(_row(cells, list(by_seed.values()), mean_iu, rows[-1] if rows else None))
    return Comparison(rows, repeats)


def mean_iu_without(left_out: str | None) -> Callable[[Run], float | None]:
    """The mean IU of a run, over all classes but one; None: as the run itself has it.

    What it gives raises DataError where the run has no such class.
    """

    def mean_iu(run: Run) -> float | None:
        if left_out is None:
            return run.result["scores"]["miou"]
        classes = run.result.get("class_iou", {})
        if left_out not in classes:
            raise DataError(
                f"without={left_out}: {run.folder} has no such class; it has {', '.join(classes)}"
            )
        return _mean([iu for name, iu in classes.items() if name != left_out])

    return mean_iu


def _row(
    told: dict[str, str],
    runs: list[Run],
    mean_iu: Callable[[Run], float | None],
    above: Row | None,
) -> Row:
    mious = [iu for iu in map(mean_iu, runs) if iu is not None]
    others = {
        name: _mean([run.result["scores"].get(name) for run in runs])
        for name in ("pixel_acc", "mean_acc", "fw_iou")
    }
    scores = {"miou": _mean(mious), **others}
    before = above.scores["miou"] if above else None
    now = scores["miou"]
    paper = published(runs[0].config.get("paper"))
    miou = paper.scores.get("miou") if paper else None
    mark = " (recalled)" if paper and paper.status == "recalled" else ""
    return Row(
        told,
        len(runs),
        scores,
        spread=stdev(mious) if len(mious) > 1 else None,
        gain=None if before is None or now is None else now - before,
        seconds=_mean([run.result.get("train_seconds") for run in runs]),
        paper=None if miou is None else f"{miou}{mark}",
    )


def _what_tells_apart(runs: list[Run]) -> list[dict[str, str]]:
    """For each run, one of each row, the keys in which they differ, and its values.

    A group's option stands for all keys that follow from it, unless they were typed, too. Where a
    record does not have the options, as that of `evaluate`, keys stand for themselves.
    """
    recorded = all("choices" in run.result for run in runs)
    choices = [run.result["choices"] if recorded else {} for run in runs]
    configs = [_flat(_setting(run.config)) for run in runs]
    typed = {key for run in runs for key in run.result.get("typed", ())} - {*_keys(choices)}
    told: list[tuple[str, list[Any]]] = []
    for group in _keys(choices):
        options = [chosen.get(group) for chosen in choices]
        if _differ(options):
            told.append((group, options))
    groups = dict(told)
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


def _setting(config: dict[str, Any]) -> dict[str, Any]:
    """What makes another row of a run: all that counts, but the seed."""
    return {key: value for key, value in counted(config).items() if key != "seed"}


def _identity(config: dict[str, Any]) -> str:
    return json.dumps(_setting(config), sort_keys=True, default=str)


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


def _mean(values: Sequence[float | None]) -> float | None:
    counted = [value for value in values if value is not None]
    return fmean(counted) if counted else None
