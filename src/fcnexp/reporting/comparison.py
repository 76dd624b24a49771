"""Runs side by side: one row for each setting, over its seeds."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from fcnexp.errors import DataError
from fcnexp.papers.published import SCORES, Published, published
from fcnexp.reporting.records import Run
from fcnexp.reporting.setting_diff import identity, what_tells_apart


class Row(NamedTuple):
    """What one setting reached. Scores are fractions, by key of SCORES; None where there is none.

    told: value by key, as typed, for the keys that tell the rows apart. runs: one of each seed.
    each: scores of each run, in their order. scores: means over the runs that have them.
    spreads: sample standard deviations; None below two runs. gain: mean IU less that of the row
    above. paper: what was published of this row. without: a class that the mean IU leaves out.
    """

    told: dict[str, str]
    runs: list[Run]
    each: dict[str, list[float | None]]
    scores: dict[str, float | None]
    spreads: dict[str, float | None]
    gain: float | None
    paper: Published | None
    without: str | None

    @property
    def name(self) -> str:
        """What tells this row apart; the model's option where it is the only row."""
        chosen = self.runs[0].result.get("choices", {})
        return ", ".join(self.told.values()) or chosen.get("model") or self.runs[0].folder.name

    @property
    def seeds(self) -> list[Any]:
        """Seed of each run; a dash where a record has none."""
        return [run.config.get("seed", "-") for run in self.runs]

    def fact(self, name: str) -> float | None:
        """Mean over the runs of a number that their records hold, say `train_seconds`."""
        return mean([run.result.get(name) for run in self.runs])


class Comparison(NamedTuple):
    """Rows in the order of their first runs. repeats: runs left out, since their seed was there."""

    rows: list[Row]
    repeats: list[Path]


def compare(runs: Sequence[Run], without: str | None = None) -> Comparison:
    """Group runs by their config, all but seeds and what changes no number.

    without: a class that the mean IU leaves out. Raises DataError where a run has no such class.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(identity(run.config), []).append(run)
    rows: list[Row] = []
    repeats: list[Path] = []
    told = what_tells_apart([group[0] for group in groups.values()])
    for group, cells in zip(groups.values(), told, strict=True):
        by_seed: dict[Any, Run] = {}
        for run in group:
            if by_seed.setdefault(run.config.get("seed"), run) is not run:
                repeats.append(run.folder)
        rows.append(_row(cells, list(by_seed.values()), without, rows[-1] if rows else None))
    return Comparison(rows, repeats)


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of those that are there; None where none is."""
    counted = [value for value in values if value is not None]
    return fmean(counted) if counted else None


def _row(
    told: dict[str, str],
    runs: list[Run],
    without: str | None,
    above: Row | None,
) -> Row:
    each = {key: [run.result["scores"].get(key) for run in runs] for key in SCORES}
    each["miou"] = [_mean_iu(run, without) for run in runs]
    scores = {key: mean(values) for key, values in each.items()}
    now, before = scores["miou"], above.scores["miou"] if above else None
    return Row(
        told,
        runs,
        each,
        scores,
        {key: _deviation(values) for key, values in each.items()},
        gain=None if before is None or now is None else now - before,
        paper=published(runs[0].config.get("paper")),
        without=without,
    )


def _mean_iu(run: Run, without: str | None) -> float | None:
    if without is None:
        return run.result["scores"]["miou"]
    classes = run.result.get("class_iou", {})
    if without not in classes:
        raise DataError(
            f"without={without}: {run.folder} has no such class; it has {', '.join(classes)}"
        )
    return mean([iu for name, iu in classes.items() if name != without])


def _deviation(values: Sequence[float | None]) -> float | None:
    counted = [value for value in values if value is not None]
    return stdev(counted) if len(counted) > 1 else None
