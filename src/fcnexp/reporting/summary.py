"""What a report says in words and tables of text, for the terminal and for Markdown."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fcnexp.errors import DataError
from fcnexp.papers.published import SCORES, Published, published
from fcnexp.reporting import curves
from fcnexp.reporting.comparison import Row, compare
from fcnexp.reporting.confusion import read_confusion
from fcnexp.reporting.costs import in_words
from fcnexp.reporting.records import Job, Run, read_runs
from fcnexp.reporting.tables import NAMES, OTHERS, percent
from fcnexp.reporting.targets import beside, not_ours, orders, why_not_comparable

UNITS = "percent; one confusion matrix over the whole set; void is not scored"
BESIDE = "Ours / the paper's (difference), %"
RELEASE = "release: classes absent from truth and prediction drop out of the mean"


class Summary(NamedTuple):
    """All that was found below some folders. repeats: runs whose setting and seed were there.

    damaged: of unfinished runs, what is to be said of a record that cannot be read. beside: of
    others, what is to be said of their curves or matrices, which a page leaves out.
    """

    folders: list[Path]
    rows: list[Row]
    repeats: list[Path]
    unfinished: list[Path]
    failed: list[Job]
    without: str | None
    damaged: dict[Path, str]
    beside: list[str]

    @property
    def name(self) -> str:
        """Name of the folder, or of the one that holds them all."""
        return Path(os.path.commonpath([folder.resolve() for folder in self.folders])).name

    @property
    def mean_iu(self) -> str:
        """What the mean IU is the mean of, in words."""
        return f"mean IU without {self.without}" if self.without else "mean IU"

    @property
    def title(self) -> str:
        """How many runs, in which unit, and what ± is."""
        runs = sum(len(row.runs) for row in self.rows)
        return f"{runs} runs (%), {self.mean_iu}, ± over seeds"


def read_summary(folders: Sequence[str | Path], without: str | None) -> Summary:
    """Read all runs below the folders. Raises DataError.

    without: a class that the mean IU leaves out; None: what the published mean IU of all of them
    leaves out, if it does.
    """
    paths = [Path(folder) for folder in folders]
    finished, unfinished, failed, damaged = read_runs(paths)
    if without is None:
        papers = [published(run.config.get("paper")) for run in finished]
        theirs = {paper.without if paper else None for paper in papers}
        without = theirs.pop() if len(theirs) == 1 else None
    rows, repeats = compare(finished, without)
    beside = [trouble for run in finished for trouble in _beside(run)]
    return Summary(paths, rows, repeats, unfinished, failed, without, damaged, beside)


def _beside(run: Run) -> list[str]:
    """What is wrong with the files that a page draws, in a run whose scores are whole."""
    troubles = []
    for read in (lambda: read_confusion([run.folder]), lambda: curves.read_metric(run.folder, "")):
        try:
            read()
        except DataError as error:
            troubles.append(str(error))
    return troubles


def score_cells(rows: Sequence[Row]) -> list[list[str]]:
    """The rows as text, a header first. Gain only where there is more than one."""
    gains = len(rows) > 1
    lines = [[*rows[0].told, "seeds", "mean IU", *["gain"] * gains, *OTHERS, "training (s)"]]
    for row in rows:
        scores = {NAMES[key]: percent(score) for key, score in row.scores.items()}
        gain = "" if row.gain is None else f"{100 * row.gain:+.1f}"
        seconds = row.fact("train_seconds")
        line = [*row.told.values(), str(len(row.runs)), with_spread(row, "miou"), *[gain] * gains]
        line += [scores[name] for name in OTHERS]
        lines.append([*line, "-" if seconds is None else f"{seconds:.0f}"])
    return lines


def paper_tables(rows: Sequence[Row]) -> dict[str, list[list[str]]]:
    """By source, rows as text, a header first: ours / the paper's (difference) for each score.

    Rows of the same published table that are not among ours come last.
    """
    tables: dict[str, list[list[str]]] = {}
    for row in rows:
        if row.paper is None:
            continue
        cells = [row.name, f"{row.paper.row} ({mark(row.paper)})"]
        for key in NAMES:
            ours, theirs, difference, _ = beside(row, key)
            pair = " / ".join("-" if v is None else f"{v:.1f}" for v in (ours, theirs))
            cells.append(pair if difference is None else f"{pair} ({difference:+.1f})")
        header = ["row", "published as", *NAMES.values()]
        tables.setdefault(row.paper.source, [header]).append(cells)
    for other in not_ours(rows):
        figures = [other.scores.get(key) for key in NAMES]
        cells = ["-" if figure is None else f"- / {figure:.1f}" for figure in figures]
        tables[other.source].append(["not among these", f"{other.row} ({mark(other)})", *cells])
    return tables


def notes(summary: Summary) -> list[str]:
    """What must be known to read the tables: order, comparability, remarks of the paper's rows."""
    lines = [str(order) for order in orders(summary.rows)]
    reasons: dict[str, list[str]] = {}
    for row in summary.rows:
        for reason in {why_not_comparable(row, key): None for key in SCORES}:
            if reason:
                reasons.setdefault(reason, []).append(row.name)
        if row.paper and row.paper.note:
            reasons.setdefault(f"of the published row: {row.paper.note}", []).append(row.name)
        if row.paper and mark(row.paper) == "recalled":
            recalled = "the paper's figures are recalled, not verified"
            reasons.setdefault(recalled, []).append(row.name)
        if row.paper and row.paper.time:
            ours = in_words(row.fact("ms_per_image"))
            lines.append(f"one image: {row.name} {ours} ms, the paper's {row.paper.time}")
    for reason, names in reasons.items():
        everywhere = len(names) == len(summary.rows)
        lines.append(reason if everywhere else f"{reason} ({'; '.join(names)})")
    return lines


def leftovers(summary: Summary) -> list[str]:
    """One line for each run that the tables do not count, and why."""
    lines = [
        f"not counted, since its setting and seed were there before: {folder}"
        for folder in summary.repeats
    ]
    lines += [
        f"not finished: {summary.damaged.get(folder, folder)}" for folder in summary.unfinished
    ]
    lines += [f"not drawn: {trouble}" for trouble in summary.beside]
    return lines + [f"failed: {job.folder}: {failure(job)}" for job in summary.failed]


def failure(job: Job) -> str:
    """Type and message of a job's error on one line."""
    told = ": ".join(part for part in (job.error["type"], job.error["message"]) if part)
    return " ".join(told.split()) or "no reason was noted"


def commands(summary: Summary) -> list[str]:
    """What was typed for the finished runs, each command once, and what does the failed ones."""
    typed = [str(run.result["command"]) for run in runs_of(summary) if "command" in run.result]
    sweeps = [str(job.folder.parent) for job in summary.failed]
    typed += [shlex.join(["python", "-m", "fcnexp.sweep", "resume", sweep]) for sweep in sweeps]
    return list(dict.fromkeys(typed))


def runs_of(summary: Summary) -> list[Run]:
    """All runs that the rows count."""
    return [run for row in summary.rows for run in row.runs]


def conventions(summary: Summary) -> list[str]:
    """How the scores are counted, by the records."""
    told = [str(run.result.get("convention") or RELEASE) for run in runs_of(summary)]
    return list(dict.fromkeys(told))


def mark(paper: Published) -> str:
    """How sure the figures of a published row are: verified, recalled, or there are none."""
    return paper.status if paper.scores else "no figures"


def with_spread(row: Row, key: str) -> str:
    """A score in percent, ± its deviation over seeds where there is one."""
    spread = row.spreads[key]
    return percent(row.scores[key]) + ("" if spread is None else f" ± {percent(spread)}")
