"""Ours beside the paper's: differences, whether they mean anything, and the order of the rows."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from fcnexp.papers.published import Published, comparable, published_table
from fcnexp.reporting.comparison import Row

TOLERANCE = 1.0  # points: how far independent replays of PAMI's nets lie from the release, at most
GENERATED = ("Shapes", "Rooms")  # what makes scenes, of fcnexp.data.splits


class Beside(NamedTuple):
    """One score of a row in percent, the paper's, and ours less the paper's; None where missing.

    difference: None, too, where ours was measured on other data. reached: whether ours is above
    what was printed, or within TOLERANCE; None where there is no difference, or it is recalled.
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
    if why_not_comparable(row, key):
        return Beside(ours, paper, None, None)
    sure = row.paper.status == "verified"
    return Beside(ours, paper, ours - paper, round(ours, 1) >= paper - TOLERANCE if sure else None)


def not_ours(rows: Sequence[Row]) -> list[Published]:
    """The other rows of the published tables that ours are of, such as another method's."""
    ours = {(row.paper.table, row.paper.row) for row in rows if row.paper}
    tables = dict.fromkeys(table for table, _ in ours if table)
    every = [row for table in sorted(tables) for row in published_table(table).values()]
    return [row for row in every if row.scores and (row.table, row.row) not in ours]


def why_not_comparable(row: Row, key: str) -> str:
    """Why a score is not to be held against the paper's; empty where it may be."""
    if row.paper is None or key not in row.paper.scores:
        return ""
    if key == "miou" and row.paper.without != row.without:
        theirs, ours = (f"without {name}" if name else "of all classes" for name in _left_out(row))
        return f"mean IU: the paper's is {theirs}, ours {ours}"
    config = row.runs[0].config
    if comparable(row.paper, config):
        return ""
    reader = str((config.get("data") or {}).get("_target_", "")).rpartition(".")[2]
    what = "generated scenes" if reader in GENERATED else "other images than the paper's"
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
        return Order(source, names, None, [f"{twice[0]} stands in several rows"])
    if other := [row for row in rows if len({*_left_out(row)}) > 1]:
        return Order(source, names, None, [why_not_comparable(other[0], "miou")])
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
    remarks = []
    if any(len(row.runs) == 1 for row in rows):
        remarks.append("a row has one seed only, so that its spread is unknown")
    if recalled := [_name(row) for row in ranked if row.paper and row.paper.status == "recalled"]:
        remarks.append(f"recalled: {', '.join(recalled)}")
    return Order(source, [_name(row) for row in ranked], not wrong, wrong + close + remarks)


def _neighbours(ranked: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Pairs of rows whose published figures follow one another; equal ones are no pair."""
    levels: dict[float, list[Row]] = {}
    for row in ranked:
        levels.setdefault(_published(row), []).append(row)
    return [(a, b) for low, high in pairwise(levels.values()) for a in low for b in high]


def _left_out(row: Row) -> tuple[str | None, str | None]:
    """The class that the mean IU leaves out, in the paper and here."""
    return row.paper.without if row.paper else None, row.without


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
