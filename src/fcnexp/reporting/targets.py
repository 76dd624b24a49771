"""Ours beside the paper's: differences, whether they mean anything, and the order of the rows."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from fcnexp.reporting.comparison import Row

# What the papers' tables were measured on, by the class that reads it, and what is generated.
PHOTOGRAPHS = ("Voc", "VocSbd", "Nyud")
GENERATED = ("Shapes", "Rooms")


class Beside(NamedTuple):
    """One score of a row in percent, the paper's, and ours less the paper's; None where missing.

    reached: whether ours is at least what was printed; None where that may not be said, since the
    figure is recalled or ours was measured on other data.
    """

    ours: float | None
    paper: float | None
    difference: float | None
    reached: bool | None


class Order(NamedTuple):
    """Whether the rows of one published table stand in its order by mean IU.

    holds: None where it cannot be told. told: why not, or what stands in the wrong place, and
    which differences are smaller than the seeds' spread.
    """

    source: str
    rows: list[str]
    holds: bool | None
    told: list[str]

    def __str__(self) -> str:
        """One line: `order as published (CVPR 2015, table 2): yes`."""
        answer = {True: "yes", False: "no", None: "not judged"}[self.holds]
        told = f": {'; '.join(self.told)}" if self.told else ""
        return f"order as published ({self.source}): {answer}{told}"


def beside(row: Row, key: str) -> Beside:
    """One score of a row beside the paper's."""
    fraction = row.scores[key]
    ours = None if fraction is None else 100 * fraction
    paper = row.paper.scores.get(key) if row.paper else None
    if ours is None or paper is None:
        return Beside(ours, paper, None, None)
    assert row.paper
    sound = row.paper.status == "verified" and not why_not_comparable(row)
    return Beside(ours, paper, ours - paper, round(ours, 1) >= paper if sound else None)


def why_not_comparable(row: Row) -> str:
    """Why a row's figures are not to be held against the paper's; empty where they may be."""
    reader = str(row.runs[0].config.get("data", {}).get("_target_", "")).rpartition(".")[2]
    if reader in PHOTOGRAPHS:
        return ""
    what = "generated scenes" if reader in GENERATED else "other data than the paper's"
    return f"{what}: the order may be compared, the figures not"


def orders(rows: Sequence[Row]) -> list[Order]:
    """One for each published table of which two rows or more are here, by mean IU."""
    tables: dict[str, list[Row]] = {}
    for row in rows:
        if row.paper and "miou" in row.paper.scores and row.scores["miou"] is not None:
            tables.setdefault(row.paper.source, []).append(row)
    return [_order(source, of_it) for source, of_it in tables.items() if len(of_it) > 1]


def _order(source: str, rows: list[Row]) -> Order:
    names = [_name(row) for row in rows]
    if twice := [name for name in names if names.count(name) > 1]:
        told = [f"{twice[0]} stands in several rows"]
        return Order(source, names, None, told)
    ranked = sorted(rows, key=_published)
    wrong, close = [], []
    for lower, upper in _neighbours(ranked):
        gain = _ours(upper) - _ours(lower)
        spread = 100 * max(lower.spreads["miou"] or 0, upper.spreads["miou"] or 0)
        within = f", less than the seeds' spread of {spread:.1f}" if abs(gain) < spread else ""
        pair = f"above {_name(lower)} ({_ours(lower):.1f})"
        if gain <= 0:
            wrong.append(f"{_name(upper)} ({_ours(upper):.1f}) is not {pair}{within}")
        elif within:
            close.append(f"{_name(upper)} ({_ours(upper):.1f}) is {pair} by {gain:.1f}{within}")
    seeds = min(len(row.runs) for row in rows)
    alone = ["a row has one seed only, so that its spread is unknown"] if seeds == 1 else []
    names = [_name(row) for row in ranked]
    return Order(source, names, not wrong, wrong + close + alone)


def _neighbours(ranked: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Pairs of rows whose published figures follow one another; equal ones are no pair."""
    levels: dict[float, list[Row]] = {}
    for row in ranked:
        levels.setdefault(_published(row), []).append(row)
    return [(a, b) for low, high in pairwise(levels.values()) for a in low for b in high]


def _name(row: Row) -> str:
    assert row.paper
    return row.paper.row


def _published(row: Row) -> float:
    assert row.paper
    return row.paper.scores["miou"]


def _ours(row: Row) -> float:
    score = row.scores["miou"]
    assert score is not None
    return 100 * score
