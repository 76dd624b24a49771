"""Notes and tables of a report as text, for the terminal and Markdown."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fcnexp.errors import DataError
from fcnexp.papers.published import ABSENT, Published, published
from fcnexp.reporting import curves
from fcnexp.reporting.comparison import Row, compare, further_tasks, of_task, short_number
from fcnexp.reporting.evidence import Evidence, two_runs, weigh
from fcnexp.reporting.evidence_tables import gain_text
from fcnexp.reporting.object_sizes import RULE
from fcnexp.reporting.records import CONFIG, Job, Records, Run, percent, read_confusion, read_runs
from fcnexp.reporting.tables import NAMES, score_names
from fcnexp.reporting.targets import (
    not_run,
    orders,
    published_pairs,
    score_pair,
    why_not_comparable,
)
from fcnexp.scoring.objects import SIZES
from fcnexp.scoring.paired import Difference
from fcnexp.scoring.per_image import OBJECTS

UNITS = "percent, from one confusion matrix over the whole set; void pixels are not scored"
TIME, NOT_RUN = "time per image", "not run: "
VERSUS_PAPER = "Ours / paper (difference) in %"
RELEASE = "release: classes absent from both ground truth and prediction are left out of the mean"


class Summary(NamedTuple):
    """Everything found below some folders. repeats: runs whose setting and seed occur earlier.

    damaged: error messages of unfinished runs whose record cannot be read. undrawn: error messages
    of damaged curves or confusion matrices, which a page leaves out. evidence: intervals, tests,
    and counts per image. two: the test of the two runs that were given, if they form one row.
    sizes: limits between sizes of objects, in pixels. task: that the scores are of, None for the
    first; further: summaries of the other tasks. pruned: number of runs that a search pruned, which
    are left out.
    """

    folders: list[Path]
    rows: list[Row]
    repeats: list[Path]
    unfinished: list[Path]
    failed: list[Job]
    without: str | None
    damaged: dict[Path, str]
    undrawn: list[str]
    evidence: Evidence
    two: Difference | None
    sizes: tuple[float, ...]
    task: str | None = None
    pruned: int = 0
    further: Sequence["Summary"] = ()

    @property
    def name(self) -> str:
        """Name of the folder, or of the common parent of several, and of a further task."""
        name = Path(os.path.commonpath([folder.resolve() for folder in self.folders])).name
        return f"{name}, {self.task}" if self.task else name

    @property
    def scores(self) -> dict[str, str]:
        """Names of the scores of its rows by key."""
        return score_names(str(each.task) for each in self.further)

    @property
    def mean_iu(self) -> str:
        """Label of the mean IU, naming the class that it leaves out."""
        if self.without == ABSENT:
            return "mean IU of present classes"
        return f"mean IU without {self.without}" if self.without else "mean IU"

    @property
    def title(self) -> str:
        """Table title: number of runs, unit, and meaning of ±."""
        runs = sum(len(row.runs) for row in self.rows)
        return f"{runs} {'run' if runs == 1 else 'runs'} (%), {self.mean_iu} ± std over seeds"


def read_summary(
    folders: Sequence[str | Path], without: str | None, sizes: Sequence[float] = SIZES
) -> Summary:
    """Read and compare all runs below the folders. Raises DataError.

    without: class to leave out of the first task's mean IU, or ABSENT; None follows the published
    rows if they all leave out the same. sizes: limits between sizes of objects, in pixels.
    """
    paths = [Path(folder) for folder in folders]
    records = read_runs(paths)
    tasks = further_tasks(records.finished)
    further = [_summary(paths, records, None, sizes, task) for task in tasks]
    return _summary(paths, records, without, sizes)._replace(further=further)


def _summary(
    paths: list[Path],
    records: Records,
    without: str | None,
    sizes: Sequence[float],
    task: str | None = None,
) -> Summary:
    """Compare the runs by their scores of one task, None for the first."""
    finished, unfinished, failed, damaged, pruned = records
    if task is not None:
        finished = [of_task(run, task) for run in finished if task in run.result.get("tasks", {})]
    if without is None:
        papers = [published(run.config.get("paper")) for run in finished]
        theirs = {paper.without if paper else None for paper in papers}
        without = theirs.pop() if len(theirs) == 1 else None
    rows, repeats = compare(finished, without)
    undrawn = [problem for run in finished for problem in _undrawn(run)]
    given_two = len(finished) == 2 == sum((path / CONFIG).is_file() for path in paths)
    two = two_runs(finished, without) if given_two else None
    pairs = [(at - 1, at) for at in range(1, len(rows))]
    evidence = weigh(rows, [*pairs, *published_pairs(rows)], without)
    return Summary(
        paths,
        rows,
        repeats,
        unfinished,
        failed,
        without,
        damaged,
        undrawn,
        evidence,
        two if len(rows) == 1 else None,
        tuple(sizes),
        task,
        len(pruned),
    )


def _undrawn(run: Run) -> list[str]:
    """Error messages of damaged curves and matrices in a run whose scores are valid."""
    problems = []
    for read in (lambda: read_confusion([run.folder]), lambda: curves.read_metric(run.folder, "")):
        try:
            read()
        except DataError as error:
            problems.append(str(error))
    return problems


def gain_cell(rows: Sequence[Row], evidence: Evidence, at: int) -> str:
    """Gain of a row over the row above, with its interval if there is one."""
    if step := evidence.step((at - 1, at)):
        return gain_text(step.difference)
    gain = rows[at].gain
    return "" if gain is None else f"{100 * gain:+.1f}"


def score_cells(summary: Summary) -> list[list[str]]:
    """The rows as text, header first. The gain column appears with two or more rows."""
    rows, evidence = summary.rows, summary.evidence
    gains = len(rows) > 1
    names = [name for key, name in summary.scores.items() if key != "miou"]
    lines = [[*rows[0].settings, "seeds", "mean IU", *["gain"] * gains, *names, "training (s)"]]
    for at, row in enumerate(rows):
        scores = {name: percent(row.scores.get(key)) for key, name in summary.scores.items()}
        gain = gain_cell(rows, evidence, at)
        seconds = row.fact("train_seconds")
        line = [*row.settings.values(), str(len(row.runs)), with_spread(row, "miou")]
        line += [*[gain] * gains, *(scores[name] for name in names)]
        lines.append([*line, "-" if seconds is None else f"{seconds:.0f}"])
    return lines


def paper_tables(rows: Sequence[Row]) -> dict[str, list[list[str]]]:
    """Tables of ours / paper (difference) for each score, as text, header first, by source.

    Rows of the same published table that were not run come last. Times per image form a last
    column if the table has any.
    """
    tables: dict[str, list[list[str]]] = {}
    others = not_run(rows)
    every = [*(row.paper for row in rows if row.paper), *others]
    timed = {paper.source for paper in every if paper.time}
    names = paper_scores(rows)
    for row in rows:
        if row.paper is None:
            continue
        cells = [row.name, f"{row.paper.row} ({mark(row.paper)})"]
        for key in names:
            ours, theirs, difference, _ = score_pair(row, key)
            pair = " / ".join("-" if v is None else f"{v:.1f}" for v in (ours, theirs))
            cells.append(pair if difference is None else f"{pair} ({difference:+.1f})")
        header = ["row", "published as", *names.values()]
        if row.paper.source in timed:
            header.append(TIME)
            cells.append(f"{own_time(row)} / {row.paper.time or '-'}")
        tables.setdefault(row.paper.source, [header]).append(cells)
    for other in others:
        figures = [other.scores.get(key) for key in names]
        cells = ["-" if figure is None else f"- / {figure:.1f}" for figure in figures]
        cells += [f"- / {other.time or '-'}"] * (other.source in timed)
        tables[other.source].append(["not run", f"{other.row} ({mark(other)})", *cells])
    return tables


def paper_scores(rows: Sequence[Row]) -> dict[str, str]:
    """Names of the scores compared with the paper by key: of a further task, those it gives."""
    every = [*(row.paper for row in rows if row.paper), *not_run(rows)]
    printed = {key for paper in every for key in paper.scores}
    known = score_names(further_tasks(run for row in rows for run in row.runs))
    return NAMES | {key: name for key, name in known.items() if key in printed}


def own_time(row: Row) -> str:
    """Time per image of a row's runs, such as `12 ms`."""
    milliseconds = row.fact("ms_per_image")
    return "-" if milliseconds is None else f"{short_number(milliseconds)} ms"


def notes(summary: Summary) -> list[str]:
    """Notes needed to read the tables: order, comparability, remarks on published rows."""
    lines = [str(order) for order in orders(summary.rows, summary.evidence)]
    if summary.two is not None:
        folders = " to ".join(str(folder) for folder in summary.folders)
        sign = percent(summary.two.other_sign)
        lines.append(f"{folders}: {gain_text(summary.two)}, other sign in {sign} % of draws")
    if any(record.tables.get(OBJECTS) for each in summary.evidence.records for record in each):
        lines.append(RULE)
    reasons: dict[str, list[str]] = {}
    for row in summary.rows:
        for reason in {why_not_comparable(row, key): None for key in row.scores}:
            if reason:
                reasons.setdefault(reason, []).append(row.name)
        if any(run.result.get("stopped_early") for run in row.runs):
            reasons.setdefault(
                "stopped early, so fewer steps; each result.json says why", []
            ).append(row.name)
        if row.paper and row.paper.note:
            reasons.setdefault(f"published row: {row.paper.note}", []).append(row.name)
        if row.paper and mark(row.paper) == "recalled":
            recalled = "the published scores are recalled from memory, not verified"
            reasons.setdefault(recalled, []).append(row.name)
    for other in not_run(summary.rows):
        if other.note:
            reasons.setdefault(f"published row: {other.note}", []).append(f"{NOT_RUN}{other.row}")
    for reason, names in reasons.items():
        ours = [name for name in names if not name.startswith(NOT_RUN)]
        all_rows = len(ours) == len(summary.rows)
        lines.append(reason if all_rows else f"{reason} ({'; '.join(names)})")
    return lines


def leftovers(summary: Summary) -> list[str]:
    """One line with a reason for each run or file that is left out."""
    same = "not counted, same setting and seed as an earlier run"
    lines = [f"{same}: {folder}" for folder in summary.repeats]
    if count := summary.pruned:
        lines.append(
            f"pruned by a search: {count} run{'s' * (count != 1)}; search/trials.csv lists them"
        )
    lines += [f"not finished: {summary.damaged.get(run, run)}" for run in summary.unfinished]
    lines += [f"not drawn: {problem}" for problem in summary.undrawn]
    return lines + [f"failed: {job.folder}: {failure(job)}" for job in summary.failed]


def failure(job: Job) -> str:
    """Type and message of a job's error on one line."""
    message = ": ".join(part for part in (job.error["type"], job.error["message"]) if part)
    return " ".join(message.split()) or "no reason was recorded"


def commands(summary: Summary) -> list[str]:
    """Commands typed for the finished runs, each once, and those that resume failed sweeps."""
    typed = [str(run.result["command"]) for run in runs_of(summary) if "command" in run.result]
    sweeps = [str(job.folder.parent) for job in summary.failed]
    typed += [shlex.join(["python", "-m", "fcnexp.sweep", "resume", sweep]) for sweep in sweeps]
    return list(dict.fromkeys(typed))


def runs_of(summary: Summary) -> list[Run]:
    """All runs that the rows include."""
    return [run for row in summary.rows for run in row.runs]


def conventions(summary: Summary) -> list[str]:
    """Scoring conventions named in the records."""
    found = [str(run.result.get("convention") or RELEASE) for run in runs_of(summary)]
    return list(dict.fromkeys(found))


def mark(paper: Published) -> str:
    """Status of a published row: verified, recalled, or no scores."""
    return paper.status if paper.scores else "no scores"


def with_spread(row: Row, key: str) -> str:
    """A score in percent, with ± its standard deviation over seeds if there is one."""
    spread = row.spreads[key]
    return percent(row.scores[key]) + ("" if spread is None else f" ± {percent(spread)}")
