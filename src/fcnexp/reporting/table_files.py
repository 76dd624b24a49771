"""A report's tables as Markdown and as CSV."""

import csv
import io
from collections.abc import Sequence

from fcnexp.reporting.costs import COSTS, cost_cells
from fcnexp.reporting.paper import SCORES
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
        parts.append("\n".join(["```", *typed, "```"]))
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
    writer.writerow([*told, "seeds", "seed", *scores, "miou_each", "miou_gain", *COSTS, *papers])
    for row in summary.rows:
        values = [value for key in SCORES for value in (row.scores[key], row.spreads[key])]
        each = " ".join("" if value is None else str(value) for value in row.each["miou"])
        published: list[str | float] = [""] * len(papers)
        if row.paper:
            published = [row.paper.source, row.paper.row, row.paper.status]
            published += [row.paper.scores.get(key, "") for key in SCORES]
        seeds = " ".join(str(seed) for seed in row.seeds)
        line = [*row.told.values(), len(row.runs), seeds, *values, each, row.gain]
        writer.writerow([*line, *(row.fact(name) for name in COSTS), *published])
    return text.getvalue()


def _safe(text: str) -> str:
    """Text that Markdown takes as it is: no tag, no column, one line."""
    for sign, instead in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(sign, instead)
    return text
