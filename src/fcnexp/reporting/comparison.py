"""Runs compared: one row per setting, averaged over its seeds, with scores and cost."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from fcnexp.errors import DataError
from fcnexp.papers.published import ABSENT, SCORES, Published, published
from fcnexp.reporting.records import Run, percent
from fcnexp.reporting.setting_diff import distinguishing_settings, identity

# Table columns by their key in result.json; see `task.cost.cost_facts`.
COSTS = {
    "train_seconds": "training (s)",
    "images_per_second": "training images/s",
    "ms_per_image": "inference (ms/image)",
    "peak_memory": "peak memory (MiB)",
    "parameters": "parameters",
}
PUBLISHED_TIME = "published time per image"


class Row(NamedTuple):
    """Results of one setting.

    Scores are fractions by key of SCORES, None if missing; those of further tasks by `TASK_KEY`.

    settings: value, as typed, by key, for the keys that distinguish the rows. runs: one per seed.
    each: scores of each run, in the order of runs. scores: means over the runs that have them.
    spreads: sample standard deviations; None for fewer than two runs. gain: mean IU minus that of
    the row above. paper: the published row. without: class left out of the mean IU, or
    ABSENT.
    """

    settings: dict[str, str]
    runs: list[Run]
    each: dict[str, list[float | None]]
    scores: dict[str, float | None]
    spreads: dict[str, float | None]
    gain: float | None
    paper: Published | None
    without: str | None

    @property
    def name(self) -> str:
        """Values of the distinguishing settings; for a single row, the model option."""
        chosen = self.runs[0].result.get("choices", {})
        return ", ".join(self.settings.values()) or chosen.get("model") or self.runs[0].folder.name

    @property
    def seeds(self) -> list[Any]:
        """Seed of each run; a dash if the record has none."""
        return [run.config.get("seed", "-") for run in self.runs]

    def fact(self, name: str) -> float | None:
        """Mean over the runs of a number from result.json, such as `train_seconds`."""
        return mean([run.result.get(name) for run in self.runs])


class Comparison(NamedTuple):
    """Rows in the order of their first runs. repeats: runs whose setting and seed occur earlier."""

    rows: list[Row]
    repeats: list[Path]


def compare(runs: Sequence[Run], without: str | None = None) -> Comparison:
    """Group runs by config, ignoring seeds and settings that do not affect results.

    without: class to leave out of the mean IU, or ABSENT. Raises DataError if a run has no such
    class.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(identity(run.config), []).append(run)
    rows: list[Row] = []
    repeats: list[Path] = []
    tasks = further_tasks(runs)
    settings = distinguishing_settings([group[0] for group in groups.values()])
    for group, own in zip(groups.values(), settings, strict=True):
        by_seed: dict[Any, Run] = {}
        for run in group:
            if by_seed.setdefault(run.config.get("seed"), run) is not run:
                repeats.append(run.folder)
        above = rows[-1] if rows else None
        rows.append(_row(own, list(by_seed.values()), without, above, tasks))
    return Comparison(rows, repeats)


def further_tasks(runs: Iterable[Run]) -> list[str]:
    """Names of the runs' tasks but the first."""
    return list(dict.fromkeys(name for run in runs for name in run.result.get("tasks", {})))


def of_task(run: Run, task: str) -> Run:
    """A run's part on a further task, as a run with this task alone."""
    config, part = run.config, run.result["tasks"][task]
    if config.get("paper") is not None:
        config = config | {"paper": config["paper"] | {"task": task}}
    result = {key: value for key, value in run.result.items() if key != "tasks"} | part
    return Run(run.folder / task, config, result)


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are not None; None if there are none."""
    counted = [value for value in values if value is not None]
    return fmean(counted) if counted else None


def costs(rows: Sequence[Row]) -> dict[str, list[float | None]]:
    """Mean cost over seeds, one value per row, by column; columns without any value are dropped."""
    known = {name: [row.fact(key) for row in rows] for key, name in COSTS.items()}
    memory = COSTS["peak_memory"]
    known[memory] = [None if bytes_ is None else bytes_ / 2**20 for bytes_ in known[memory]]
    return {name: values for name, values in known.items() if any(v is not None for v in values)}


def cost_cells(rows: Sequence[Row]) -> list[list[str]]:
    """Cost table as text, header first, with the published time per image if there is one."""
    columns = {name: [short_number(v) for v in values] for name, values in costs(rows).items()}
    if times := published_times(rows):
        columns[PUBLISHED_TIME] = times
    names = [row.name for row in rows]
    return [["row", *columns], *map(list, zip(names, *columns.values(), strict=True))]


def published_times(rows: Sequence[Row]) -> list[str]:
    """The paper's time per image for each row, `-` if missing; empty if all are missing."""
    times = [row.paper.time if row.paper and row.paper.time else "-" for row in rows]
    return times if any(time != "-" for time in times) else []


def short_number(value: float | None) -> str:
    """A number with three significant digits, or all its integer digits; `-` for None."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _row(
    settings: dict[str, str],
    runs: list[Run],
    without: str | None,
    above: Row | None,
    tasks: Sequence[str],
) -> Row:
    each = {key: [run.result["scores"].get(key) for run in runs] for key in SCORES}
    each["miou"] = [_mean_iu(run, without) for run in runs]
    for task in tasks:
        found = [run.result.get("tasks", {}).get(task, {}).get("scores", {}) for run in runs]
        each |= {f"{task}_{key}": [scores.get(key) for scores in found] for key in SCORES}
    scores = {key: mean(values) for key, values in each.items()}
    now, before = scores["miou"], above.scores["miou"] if above else None
    return Row(
        settings,
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
    if without == ABSENT:
        accuracy = run.result.get("class_acc", {})
        return mean([iu for name, iu in classes.items() if accuracy.get(name) is not None])
    if without not in classes:
        raise DataError(
            f"without={without}: {run.folder} has no such class; choose one of {', '.join(classes)}"
        )
    return mean([iu for name, iu in classes.items() if name != without])


def class_scores(rows: Sequence[Row]) -> dict[str, list[float | None]]:
    """IU of each class as a fraction, averaged over seeds, one value per row."""
    by_row = [[run.result.get("class_iou", {}) for run in row.runs] for row in rows]
    names = dict.fromkeys(name for seeds in by_row for classes in seeds for name in classes)
    return {name: [mean([c.get(name) for c in seeds]) for seeds in by_row] for name in names}


def class_score_cells(rows: Sequence[Row]) -> list[list[str]]:
    """`class_scores` in percent as text, one line per class, header first; empty without any."""
    lines = [[name, *map(percent, scores)] for name, scores in class_scores(rows).items()]
    return [["class", *(row.name for row in rows)], *lines] if lines else []


def _deviation(values: Sequence[float | None]) -> float | None:
    counted = [value for value in values if value is not None]
    return stdev(counted) if len(counted) > 1 else None
