"""Confusion matrices of a row, read back and summed over its seeds."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

CONFUSION = "confusion.csv"


class Confusion(NamedTuple):
    """Counts of pixels by truth (lines) and prediction (columns), and the classes' names."""

    names: list[str]
    counts: list[list[int]]


def read_confusion(folders: Sequence[Path]) -> Confusion | None:
    """The sum over those runs that have a readable matrix of the same classes; None for none."""
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
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    try:
        counts = [[int(cell) for cell in line[1:]] for line in lines[1:]]
    except ValueError:
        return None
    names = lines[0][1:] if lines else []
    square = names and len(counts) == len(names) and all(len(c) == len(names) for c in counts)
    return Confusion(names, counts) if square else None
