"""A report's tables as Markdown and as CSV."""

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from fcnexp.papers.published import SCORES
from fcnexp.reporting.costs import COSTS, cost_cells
from fcnexp.reporting.summary import (
    BESIDE,
    UNITS,
    Summary,
    commands,
    conventions,
    leftovers,
    notes,
    paper_tables,
    score_cells,
)

# Written as their numbers, which mean the sign itself and nothing else, in and out of tables.
_SIGNS = "&<>|`[]!*\\"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def markdown(summary: Summary) -> str:
    """The tables of the terminal, with notes, what is missing, and the commands."""
    parts = [f"# {_safe(summary.name)}"]
    if summary.rows:
        parts += [f"{_safe(summary.title)}.", table(score_cells(summary.rows))]
        for source, lines in paper_tables(summary.rows).items():
            parts += [f"{BESIDE}, {_safe(source)}:", table(lines)]
        if len((costs := cost_cells(summary.rows))[0]) > 2:  # the training's seconds are above
            parts.append(table(costs))
        told = [*notes(summary), *(f"scores: {UNITS}; {c}" for c in conventions(summary))]
        parts.append("\n".join(f"- {_safe(line)}" for line in told))
    if missing := leftovers(summary):
        parts.append("\n".join(f"- {_safe(line)}" for line in missing))
    if typed := commands(summary):
        parts.append(_fenced(typed))
    return "\n\n".join(parts) + "\n"


def table(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first line is the header."""
    first, *others = [f"| {' | '.join(_safe(cell) for cell in line)} |" for line in lines]
    return "\n".join([first, "|" + "---|" * len(lines[0]), *others])


def unrounded(summary: Summary) -> str:
    """One line per row as CSV: scores as fractions, the paper's in percent; empty where none.

    NAME_sd: sample standard deviation over seeds. miou_each: of each seed, in the order of `seed`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    told = list(summary.rows[0].told) if summary.rows else []
    scores = [name for key in SCORES for name in (key, f"{key}_sd")]
    papers = ["paper_source", "paper_row", "paper_status", *(f"paper_{k}_percent" for k in SCORES)]
    writer.writerow(
        [*map(_cell, told), "seeds", "seed", *scores, "miou_each", "miou_gain", *COSTS, *papers]
    )
    for row in summary.rows:
        values = [value for key in SCORES for value in (row.scores[key], row.spreads[key])]
        each = " ".join("" if value is None else str(value) for value in row.each["miou"])
        published: list[str | float] = [""] * len(papers)
        if row.paper:
            published = [row.paper.source, row.paper.row, row.paper.status]
            published += [row.paper.scores.get(key, "") for key in SCORES]
        seeds = " ".join(str(seed) for seed in row.seeds)
        line = [*row.told.values(), len(row.runs), seeds, *values, each, row.gain]
        line += [*(row.fact(name) for name in COSTS), *published]
        writer.writerow([_cell(value) for value in line])
    return text.getvalue()


def _safe(text: str) -> str:
    """Text that Markdown shows as it is: no tag, column, link, picture nor code, one line."""
    shown = " ".join(text.splitlines())
    return "".join(f"&#{ord(sign)};" if sign in _SIGNS else sign for sign in shown)


def _fenced(lines: Sequence[str]) -> str:
    """Lines as they are, between fences longer than any that they hold."""
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence, *(" ".join(line.splitlines()) for line in lines), fence])


def _cell(value: Any) -> Any:
    """A value that spreadsheets take for text where it is text: not for a formula of theirs."""
    if isinstance(value, str) and value.startswith(_FORMULA) and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
