"""Print a comparison of runs and write it as HTML, Markdown and CSV."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fcnexp.errors import ConfigError
from fcnexp.papers.published import SCORES, Published
from fcnexp.reporting.comparison import COSTS, class_score_cells, cost_cells
from fcnexp.reporting.evidence_tables import (
    change_cells,
    class_cells,
    size_cells,
    size_tables,
    spread_cells,
    step_cells,
    worst_cells,
)
from fcnexp.reporting.object_sizes import SHARES
from fcnexp.reporting.page import page
from fcnexp.reporting.summary import (
    UNITS,
    VERSUS_PAPER,
    Summary,
    commands,
    conventions,
    leftovers,
    notes,
    paper_tables,
    read_summary,
    score_cells,
)
from fcnexp.reporting.tables import print_comparison
from fcnexp.reporting.targets import not_run
from fcnexp.scoring.objects import SIZES
from fcnexp.system.atomic import write_atomically
from fcnexp.system.visible import visible, visible_page

FORMATS = (".html", ".md", ".csv")
CLASS_IU, LINES = "IU of each class (%), mean over seeds", 64  # lines that a terminal still shows
EVIDENCE = (
    *("miou_low", "miou_high", "gain_low", "gain_high"),
    *("gain_other_sign", "gain_p_holm"),
)
# Written as character references, which Markdown shows literally, inside and outside tables.
_SPECIAL = "&<>|`[]!*\\"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def report(
    folders: Sequence[str],
    output: str | None,
    without: str | None,
    sizes: Sequence[float] = SIZES,
) -> None:
    """Print the tables and write the report files. Raises UserError.

    folders: run folders, or folders that contain them. sizes: limits between sizes of objects.
    """
    targets = _targets(Path(folders[0]) if output is None else Path(output))
    summary = read_summary(folders, without, sizes)
    print_summary(summary)
    written = []
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        for path, text in _texts(summary, target).items():
            write_atomically(path, text)
            written.append(path)
    print(f"wrote {', '.join(map(str, written))}")


def _texts(summary: Summary, target: Path) -> dict[Path, str]:
    """Content of each file to write; an HTML report has a page for each task."""
    if target.suffix != ".html":
        return {target: visible({".md": markdown, ".csv": unrounded}[target.suffix](summary))}
    parts = {
        target.with_stem(f"{target.stem}_{part.task}" if part.task else target.stem): part
        for part in (summary, *summary.further)
    }
    links = {part.task or summary.name: path.name for path, part in parts.items()}
    return {path: visible_page(page(part, links)) for path, part in parts.items()}


def print_summary(summary: Summary) -> None:
    """Print the rows, their comparison with the paper, notes, and runs that are left out.

    The rows by their scores of each further task come last.
    """
    _print_tables(summary)
    for line in [*notes(summary), *leftovers(summary), *summary.evidence.problems]:
        print(visible(line))
    for part in summary.further:
        print(f"task {part.task}:")
        _print_tables(part)
        for line in [*notes(part), *part.evidence.problems]:
            print(line)


def _print_tables(summary: Summary) -> None:
    if summary.rows:
        print_comparison(score_cells(summary), summary.title)
        if (lines := class_score_cells(summary.rows)) and len(lines) <= LINES:
            print_comparison(lines, CLASS_IU)
        for title, lines in evidence_tables(summary).items():
            print_comparison(lines, title)
        if lines := size_cells(summary.rows, summary.evidence, "missed", summary.sizes):
            print_comparison(lines, f"Objects by size: {SHARES['missed']} (%)")
        for source, lines in paper_tables(summary.rows).items():
            narrow = [[c.replace(" (", "\n(").replace(" / ", "/") for c in line] for line in lines]
            print_comparison(narrow, f"{VERSUS_PAPER}, {source}")


def evidence_tables(summary: Summary) -> dict[str, list[list[str]]]:
    """Intervals, and steps between rows, by title, if they have lines."""
    rows, evidence = summary.rows, summary.evidence
    tables = {
        "95 % intervals of the mean IU (%)": spread_cells(rows, evidence),
        "Steps between rows: gain in mean IU (%)": step_cells(rows, evidence),
    }
    return {title: lines for title, lines in tables.items() if lines}


def image_tables(summary: Summary) -> dict[str, list[list[str]]]:
    """Gains of classes, worst images and largest changes, by title."""
    rows, evidence = summary.rows, summary.evidence
    tables = {
        "Gain in IU of each class (%); * beyond chance": class_cells(rows, evidence),
        "Worst images of the last row: mean IU (%)": worst_cells(rows, evidence),
        "Largest changes between the first and the last row: mean IU (%)": change_cells(
            rows, evidence
        ),
    }
    return {title: lines for title, lines in tables.items() if lines}


def _targets(output: Path) -> list[Path]:
    """Paths of the files to write."""
    if output.is_dir() or not output.suffix:
        return [output / f"report{suffix}" for suffix in FORMATS]
    if output.suffix not in FORMATS:
        raise ConfigError(
            f"output={output}: must be a folder, or a file ending in {', '.join(FORMATS)}"
        )
    return [output]


def markdown(summary: Summary) -> str:
    """The terminal tables with notes, runs left out, and commands; further tasks come last."""
    parts = [f"# {_safe(summary.name)}", *_tables(summary)]
    if missing := [*leftovers(summary), *summary.evidence.problems]:
        parts.append("\n".join(f"- {_safe(line)}" for line in missing))
    for part in summary.further:
        parts += [f"## {_safe(part.name)}", *_tables(part)]
    if typed := commands(summary):
        parts.append(_fenced(typed))
    return "\n\n".join(parts) + "\n"


def _tables(summary: Summary) -> list[str]:
    """The tables of one task and its notes."""
    parts: list[str] = []
    if summary.rows:
        parts += [f"{_safe(summary.title)}.", table(score_cells(summary))]
        if lines := class_score_cells(summary.rows):
            parts += [f"{CLASS_IU}:", table(lines)]
        size = size_tables(summary.rows, summary.evidence, summary.sizes)
        for title, lines in (evidence_tables(summary) | size | image_tables(summary)).items():
            parts += [f"{_safe(title)}:", table(lines)]
        for source, lines in paper_tables(summary.rows).items():
            parts += [f"{VERSUS_PAPER}, {_safe(source)}:", table(lines)]
        if (
            len((costs := cost_cells(summary.rows))[0]) > 2
        ):  # training seconds are in the table above
            parts.append(table(costs))
        remarks = [*notes(summary), *(f"scores: {UNITS}; {c}" for c in conventions(summary))]
        parts.append("\n".join(f"- {_safe(line)}" for line in remarks))
    return parts


def table(lines: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table; the first line is the header."""
    first, *others = [f"| {' | '.join(_safe(cell) for cell in line)} |" for line in lines]
    return "\n".join([first, "|" + "---|" * len(lines[0]), *others])


def unrounded(summary: Summary) -> str:
    """The rows as CSV: our scores as fractions, the paper's in percent; missing values are empty.

    Scores of a further task are in columns TASK_NAME, after those of the first.

    Published rows that were not run come last, with the paper's columns alone.

    NAME_sd: sample standard deviation over seeds. miou_each: one per seed, in the order of `seed`.
    miou_low, miou_high: interval for other images and, with several seeds, other seeds. gain_low,
    gain_high, gain_other_sign, gain_p_holm: of the gain over the row above.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    settings = list(summary.rows[0].settings) if summary.rows else []
    keys = list(summary.rows[0].scores) if summary.rows else list(SCORES)
    scores = [name for key in keys for name in (key, f"{key}_sd")]
    papers = ["paper_source", "paper_row", "paper_status", *(f"paper_{k}_percent" for k in keys)]
    ours = [*map(_cell, settings), "seeds", "seed", *scores, "miou_each", "miou_gain"]
    ours += [*EVIDENCE, *COSTS]
    writer.writerow([*ours, *papers, "paper_time", "paper_note"])
    for at, row in enumerate(summary.rows):
        values = [value for key in keys for value in (row.scores[key], row.spreads[key])]
        each = " ".join("" if value is None else str(value) for value in row.each["miou"])
        published = _published(row.paper, keys) if row.paper else [""] * (len(papers) + 2)
        seeds = " ".join(str(seed) for seed in row.seeds)
        line = [*row.settings.values(), len(row.runs), seeds, *values, each, row.gain]
        line += [*_evidence(summary, at), *(row.fact(name) for name in COSTS), *published]
        writer.writerow([_cell(value) for value in line])
    for other in not_run(summary.rows):
        writer.writerow([*[""] * len(ours), *map(_cell, _published(other, keys))])
    return text.getvalue()


def _published(row: Published, keys: Sequence[str]) -> list[str | float]:
    """Values of the last columns. keys: of the scores."""
    scores = [row.scores.get(key, "") for key in keys]
    return [row.source, row.row, row.status, *scores, row.time, row.note]


def _evidence(summary: Summary, at: int) -> list[float | str]:
    """Values of the columns EVIDENCE of one row; empty if missing."""
    found, step = summary.evidence.spreads[at], summary.evidence.step((at - 1, at))
    values: list[float | str] = [""] * len(EVIDENCE)
    if found is not None:
        values[:2] = found.both or found.images
    if step is not None:
        values[2:] = [*step.difference.interval, step.difference.other_sign, step.p]
    return values


def _safe(text: str) -> str:
    """Text on one line, escaped so that Markdown shows it literally."""
    shown = " ".join(text.splitlines())
    return "".join(f"&#{ord(char)};" if char in _SPECIAL else char for char in shown)


def _fenced(lines: Sequence[str]) -> str:
    """A code block, with fences longer than any run of backticks in the lines."""
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence, *(" ".join(line.splitlines()) for line in lines), fence])


def _cell(value: Any) -> Any:
    """A value with a leading quote if a spreadsheet would read the text as a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA) and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
