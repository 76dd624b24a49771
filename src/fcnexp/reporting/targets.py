"""Comparison with the paper: differences in score, comparability, and the order of rows."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from fcnexp.papers.published import Published, comparable, published_table
from fcnexp.reporting.comparison import Row
from fcnexp.reporting.evidence import Evidence, Pair
from fcnexp.reporting.evidence_tables import gain_text

TOLERANCE = 1.0  # points: largest gap between independent replays of PAMI nets and the release
GENERATED = ("Shapes", "Rooms")  # classes of fcnexp.data.splits


class ScorePair(NamedTuple):
    """Our score, the paper's, and ours minus the paper's, in percent; None if missing.

    difference: also None if ours was measured on different data. reached: True if ours is at least
    the published score minus TOLERANCE; None without a difference or if the paper's is recalled.
    """

    ours: float | None
    paper: float | None
    difference: float | None
    reached: bool | None


class Order(NamedTuple):
    """Result of checking that our rows are ordered by mean IU as in the published table.

    holds: None if this cannot be judged. remarks: why not, which rows are out of order, and which
    differences are smaller than the spread over seeds.
    """

    source: str
    rows: list[str]
    holds: bool | None
    remarks: list[str]

    def __str__(self) -> str:
        """One line: `order as published (CVPR 2015, table 2): yes`."""
        answer = {True: "yes", False: "no", None: "not judged"}[self.holds]
        remarks = f": {'; '.join(self.remarks)}" if self.remarks else ""
        return f"order as published ({self.source}): {answer}{remarks}"


def score_pair(row: Row, key: str) -> ScorePair:
    """Compare one score of a row with the paper's."""
    fraction = row.scores.get(key)
    ours = None if fraction is None else 100 * fraction
    paper = row.paper.scores.get(key) if row.paper else None
    if ours is None or paper is None or why_not_comparable(row, key):
        return ScorePair(ours, paper, None, None)
    reached = round(ours, 1) >= paper - TOLERANCE
    verified = row.paper is not None and row.paper.status == "verified"
    return ScorePair(ours, paper, ours - paper, reached if verified else None)


def not_run(rows: Sequence[Row]) -> list[Published]:
    """Rows of the same published tables that were not run, such as those of other methods."""
    ours = {(row.paper.table, row.paper.row) for row in rows if row.paper}
    tables = dict.fromkeys(table for table, _ in ours if table)
    every = [row for table in sorted(tables) for row in published_table(table).values()]
    for task in {row.paper.task for row in rows if row.paper} - {None}:
        every = [row.of_task(str(task)) for row in every]
    return [row for row in every if row.scores and (row.table, row.row) not in ours]


def why_not_comparable(row: Row, key: str) -> str:
    """Reason why a score cannot be compared with the paper's; empty if it can."""
    if row.paper is None or key not in row.paper.scores:
        return ""
    if key == "miou" and row.paper.without != row.without:
        theirs, ours = (f"without {c}" if c else "over all classes" for c in _left_out(row))
        return f"mean IU: the paper's is {theirs}, ours is {ours}"
    config = row.runs[0].config
    if comparable(row.paper, config):
        return ""
    data = config.get("data") or {}
    reader = str(data.get("_target_", "")).rpartition(".")[2]
    if row.paper.classes and data.get("classes") not in (None, row.paper.classes):
        return f"the paper's task has {row.paper.classes} classes, ours {data['classes']}"
    what = "generated scenes" if reader in GENERATED else "different images from the paper's"
    return f"{what}: compare the order of rows, not the scores"


def orders(rows: Sequence[Row], evidence: Evidence | None = None) -> list[Order]:
    """Check the order by mean IU for each published table of which we have two or more rows.

    evidence: tells which steps are beyond chance.
    """
    found = []
    for source, of_it in _by_table(rows).items():
        order = _order(source, of_it)
        steps = _steps(rows, of_it, evidence) if evidence and order.holds is not None else []
        found.append(order._replace(remarks=order.remarks + steps))
    return found


def published_pairs(rows: Sequence[Row]) -> list[Pair]:
    """Places of rows that are neighbours in a published table, the lower one first."""
    place = {id(row): at for at, row in enumerate(rows)}
    return [
        (place[id(lower)], place[id(upper)])
        for of_it in _by_table(rows).values()
        for lower, upper in _neighbours(sorted(of_it, key=_published))
    ]


def _by_table(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by the published table that they belong to, of tables with two or more."""
    tables: dict[str, list[Row]] = {}
    for row in rows:
        if row.paper and "miou" in row.paper.scores and row.scores["miou"] is not None:
            tables.setdefault(row.paper.source, []).append(row)
    return {source: of_it for source, of_it in tables.items() if len(of_it) > 1}


def _steps(rows: Sequence[Row], of_it: Sequence[Row], evidence: Evidence) -> list[str]:
    """Remarks on which steps of a published order are beyond chance."""
    place = {id(row): at for at, row in enumerate(rows)}
    real: dict[bool, list[str]] = {True: [], False: []}
    for lower, upper in _neighbours(sorted(of_it, key=_published)):
        step = evidence.step((place[id(lower)], place[id(upper)]))
        if step is not None:
            names = f"{_name(lower)} to {_name(upper)}"
            real[step.beyond_chance].append(f"{names} {gain_text(step.difference)}")
    heads = {True: "beyond chance", False: "not beyond chance"}
    verb = {key: "is" if len(steps) == 1 else "are" for key, steps in real.items()}
    return [f"{heads[key]} {verb[key]} {', '.join(steps)}" for key, steps in real.items() if steps]


def _order(source: str, rows: list[Row]) -> Order:
    names = [_name(row) for row in rows]
    if twice := [name for name in names if names.count(name) > 1]:
        return Order(source, names, None, [f"{twice[0]} appears in several rows"])
    if other := [row for row in rows if len({*_left_out(row)}) > 1]:
        return Order(source, names, None, [why_not_comparable(other[0], "miou")])
    ranked = sorted(rows, key=_published)
    wrong, close = [], []
    for lower, upper in _neighbours(ranked):
        gain = _ours(upper) - _ours(lower)
        spread = 100 * max(lower.spreads["miou"] or 0, upper.spreads["miou"] or 0)
        within = f", less than the spread over seeds of {spread:.1f}" if abs(gain) < spread else ""
        pair = f"above {_name(lower)} ({_ours(lower):.1f})"
        if gain <= 0:
            wrong.append(f"{_name(upper)} ({_ours(upper):.1f}) is not {pair}{within}")
        elif within:
            close.append(f"{_name(upper)} ({_ours(upper):.1f}) is {pair} by {gain:.1f}{within}")
    remarks = []
    if any(len(row.runs) == 1 for row in rows):
        remarks.append("at least one row has a single seed, so its spread is unknown")
    if recalled := [_name(row) for row in ranked if row.paper and row.paper.status == "recalled"]:
        remarks.append(f"recalled: {', '.join(recalled)}")
    return Order(source, [_name(row) for row in ranked], not wrong, wrong + close + remarks)


def _neighbours(ranked: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Pairs of rows adjacent in published mean IU; rows with equal scores are not paired."""
    levels: dict[float, list[Row]] = {}
    for row in ranked:
        levels.setdefault(_published(row), []).append(row)
    return [(a, b) for low, high in pairwise(levels.values()) for a in low for b in high]


def _left_out(row: Row) -> tuple[str | None, str | None]:
    """The class that the mean IU leaves out, in the paper and in ours."""
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
