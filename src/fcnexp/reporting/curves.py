"""Learning curves: logged metrics, read from runs and averaged over seeds."""

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from fcnexp.errors import DataError
from fcnexp.system.os_errors import reraise_system_error

METRICS = "metrics.csv"
LOSS, MEAN_IU = "train/loss", "val/miou"
MAX_POINTS = 150  # per line; longer lines average neighbouring points
LOG_FROM = 30  # axes are logarithmic if largest / smallest exceeds this

Points = list[tuple[float, float]]  # (step, value)


class Curves(NamedTuple):
    """One logged metric of one row: a line per seed, and their mean at shared steps."""

    seeds: list[Points]
    mean: Points


class Axis(NamedTuple):
    """One axis of a plot. ticks: (position in [0, 1], label)."""

    low: float
    high: float
    log: bool
    ticks: list[tuple[float, str]]

    def place(self, value: float) -> float:
        """Position of a value: 0 at the low end, 1 at the high end."""
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return (value - low) / (high - low) if high > low else 0.5


def read_metric(folder: Path, name: str) -> Points:
    """Values that a run logged under a name, by step; empty if there are none.

    A resumed run also has metrics_until_STEP.csv from earlier parts. Those count up to STEP, since
    later steps were repeated. Raises DataError if a file is damaged.
    """
    points: dict[int, float] = {}
    parts: list[tuple[float, int, Path]] = sorted(
        (int(found[1]), int(found[2] or 1), path)
        for path in folder.glob("metrics_until_*.csv")
        if (found := re.fullmatch(r"metrics_until_(\d+)(?:_(\d+))?\.csv", path.name))
    )
    for until, _, path in [*parts, (math.inf, 0, folder / METRICS)]:
        if not path.is_file():
            continue
        for line in _lines(path):
            point = _number(line.get("step")), _number(line.get(name))
            if point[0] is not None and point[1] is not None and point[0] <= until:
                points[int(point[0])] = point[1]
    return [(step, points[step]) for step in sorted(points)]


def _lines(path: Path) -> list[dict[str, str]]:
    """Lines of a CSV file as dicts by column. Raises DataError if it cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            lines = list(reader)
        if reader.fieldnames and "step" not in reader.fieldnames:
            raise ValueError("no column of steps")
    except (OSError, ValueError, csv.Error) as error:
        reraise_system_error(error)
        raise DataError(f"{path}: damaged; remove it to leave out its curves") from None
    return lines


def curves(folders: Sequence[Path], name: str) -> Curves:
    """Curves of one metric for the runs of one row."""
    read = [line for folder in folders if (line := read_metric(folder, name))]
    by_step = [dict(line) for line in read]
    shared = sorted(set.intersection(*map(set, by_step))) if by_step else []
    mean = [(float(step), fmean(line[step] for line in by_step)) for step in shared]
    return Curves([_thinned(line) for line in read], _thinned(mean))


def value_axis(lines: Sequence[Points], *, times: int = 1, log: bool = False) -> Axis:
    """An axis that includes 0 and all values. times: factor applied to the tick labels.

    log: use a logarithmic axis if all values are positive and span more than LOG_FROM.
    """
    values = [value for line in lines for _, value in line]
    low, high = min(values), max(values)
    if log and low > 0 and high / low > LOG_FROM:
        low, high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high))
        tens = range(round(math.log10(low)), round(math.log10(high)) + 1)
        every = 1 + (len(tens) - 1) // 6
        axis = Axis(low, high, True, [])
        return axis._replace(ticks=[(axis.place(10.0**t), f"{10.0**t:g}") for t in tens[::every]])
    return _linear(min(0.0, low), high, times)


def step_axis(lines: Sequence[Points]) -> Axis:
    """An axis from step 0 to the last step."""
    return _linear(0.0, max(step for line in lines for step, _ in line), 1)


def path(line: Points, across: Axis, up: Axis) -> str:
    """SVG path in a 1000 x 1000 box with the y axis pointing down; a single point becomes a dot."""
    ends = [f"{1000 * across.place(x):.0f} {1000 - 1000 * up.place(y):.0f}" for x, y in line]
    return "M" + "L".join(ends) + ("h0" if len(ends) == 1 else "")


def _linear(low: float, high: float, times: int) -> Axis:
    """An axis that ends on ticks, at multiples of 1, 2 or 5 times a power of ten."""
    rough = max((high - low) / 4, 1e-12)
    power = 10 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    axis = Axis(first * step, last * step, False, [])
    ticks = [(axis.place(n * step), f"{n * step * times:.6g}") for n in range(first, last + 1)]
    return axis._replace(ticks=ticks)


def _thinned(line: Points) -> Points:
    size = -(-len(line) // MAX_POINTS)
    if size < 2:
        return line
    parts = [line[i : i + size] for i in range(0, len(line), size)]
    return [(fmean(s for s, _ in part), fmean(v for _, v in part)) for part in parts]


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
