"""Confusion matrices of a row, read from its runs and summed over seeds."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fcnexp.errors import DataError
from fcnexp.system.os_errors import let_through

CONFUSION = "confusion.csv"


class Confusion(NamedTuple):
    """Class names and pixel counts; rows are ground truth, columns are predictions."""

    names: list[str]
    counts: list[list[int]]


def read_confusion(folders: Sequence[Path]) -> Confusion | None:
    """Sum of the runs' matrices over the same classes; None if no run has one.

    Raises DataError if a file is damaged.
    """
    total: Confusion | None = None
    for folder in folders:
        matrix = _read(folder / CONFUSION)
        if matrix is None or (total and matrix.names != total.names):
            continue
        if total is None:
            total = matrix
        else:
            pairs = zip(total.counts, matrix.counts, strict=True)
            sums = [[a + b for a, b in zip(*both, strict=True)] for both in pairs]
            total = Confusion(total.names, sums)
    return total


def _read(path: Path) -> Confusion | None:
    """Matrix of one run; None if the file is missing. Raises DataError if it is damaged."""
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
        counts = [[int(cell) for cell in line[1:]] for line in lines[1:]]
    except (OSError, ValueError, csv.Error) as error:
        let_through(error)
        lines, counts = [], []
    names = lines[0][1:] if lines else []
    valid = (
        bool(names)
        and [line[:1] for line in lines[1:]] == [[name] for name in names]
        and all(len(c) == len(names) and min(c) >= 0 for c in counts)
        and sum(map(sum, counts)) < 2**63  # counts are int64
    )
    if not valid:
        raise DataError(f"{path}: damaged; remove it and score the run again with evaluate")
    return Confusion(names, counts)
