"""A report as one self-contained HTML file with tables, curves and pictures."""

import base64
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import fcnexp
from fcnexp.data.palette import voc_palette
from fcnexp.errors import DataError
from fcnexp.papers.published import ABSENT
from fcnexp.reporting import comparison, curves, summary, targets
from fcnexp.reporting.comparison import Row
from fcnexp.reporting.evidence_view import evidence_view, object_view
from fcnexp.reporting.grid import read_grid
from fcnexp.reporting.image_view import image_view
from fcnexp.reporting.records import percent, read_confusion
from fcnexp.reporting.setting_diff import all_differences
from fcnexp.reporting.summary import Summary

T = TypeVar("T")
SEARCH = ("history", "front", "parallel", "importances", "curves")  # plots, in this order
LARGEST = 2**20  # bytes of such a plot
TEMPLATES = Path(__file__).with_name("templates")


def page(report: Summary, links: Mapping[str, str] | None = None) -> str:
    """Render the page of one task. All text from runs is escaped.

    links: file names of the pages of all tasks, by what they are called.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "short_number": comparison.short_number}
    environment.filters["asked"] = lambda without: "absent" if without == ABSENT else without
    rows = report.rows
    matrices = [read_undamaged(read_confusion, [run.folder for run in row.runs]) for row in rows]
    return environment.get_template("report.html.j2").render(
        report=report,
        rows=rows,
        header=header(report),
        scores=report.scores,
        links=links if links and len(links) > 1 else {},
        notes=[
            *summary.notes(report),
            *(f"not drawn: {line}" for line in report.undrawn),
            *report.evidence.problems,
        ],
        bars={key: bars(rows, key) for key in report.scores if rows},
        paper_scores=summary.paper_scores(rows),
        has_paper=any(row.paper for row in rows),
        score_pair=targets.score_pair,
        not_run=(others := targets.not_run(rows)),
        timed=any(paper.time for paper in [*(row.paper for row in rows if row.paper), *others]),
        own_time=summary.own_time,
        plots=plots(rows, [str(part.task) for part in report.further]),
        searches=search_plots(report.folders),
        classes=comparison.class_scores(rows),
        confusions=[matrix and matrix._asdict() for matrix in matrices],
        has_confusion=any(matrices),
        grid=read_grid(rows),
        gain=lambda at: summary.gain_cell(rows, report.evidence, at),
        evidence=evidence_view(rows, report.evidence),
        objects=object_view(rows, report.evidence, report.sizes),
        images=image_view(rows, report.evidence),
        legends=legends(rows),
        costs=comparison.costs(rows),
        times=comparison.published_times(rows),
        published_time=comparison.PUBLISHED_TIME,
        devices=_once(str(run.result.get("device", "")) for run in summary.runs_of(report)),
        differences=all_differences([row.runs[0] for row in rows]),
        failure=summary.failure,
        mark=summary.mark,
        commands=summary.commands(report),
    )


def read_undamaged(read: Callable[..., T], folders: Sequence[Path], *names: str) -> T:
    """Read from the runs whose file is not damaged; the notes list the others."""
    undamaged = []
    for folder in folders:
        with suppress(DataError):
            read([folder], *names)
            undamaged.append(folder)
    return read(undamaged, *names)


def header(report: Summary) -> dict[str, Any]:
    """Facts about the report: date, versions, number of runs, seeds, conventions."""
    runs = summary.runs_of(report)
    return {
        "title": report.name,
        "command": shlex.join(["python", "-m", "fcnexp.report", *map(str, report.folders)]),
        "made": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "versions": [
            f"fcnexp {fcnexp.__version__}",
            *(f"torch {v}" for v in _once(str(run.result.get("torch", "")) for run in runs)),
        ],
        "precisions": _once(str(run.result.get("precision", "")) for run in runs),
        "runs": len(runs),
        "seeds": _once(str(run.config.get("seed", "")) for run in runs),
        "units": summary.UNITS,
        "conventions": summary.conventions(report),
    }


def bars(rows: Sequence[Row], key: str) -> dict[str, Any]:
    """Bar chart of one score: values in percent, positions in percent of an axis from 0."""
    numbers = [number for row in rows for number in _percents(row, key)]
    axis = curves.value_axis([[(0.0, number)] for number in [0.0, *numbers]])
    lines = []
    for row in rows:
        pair = targets.score_pair(row, key)
        each = [
            (seed, 100 * score, 100 * axis.place(100 * score))
            for seed, score in zip(row.seeds, row.each[key], strict=True)
            if score is not None
        ]
        spread = 100 * (row.spreads[key] or 0)
        line: dict[str, Any] = {"row": row, "pair": pair, "each": each, "spread": spread}
        if pair.ours is not None:
            ends = max(pair.ours - spread, 0), pair.ours + spread
            line["place"] = 100 * axis.place(pair.ours)
            line["ends"] = [100 * min(max(axis.place(end), 0), 1) for end in ends]
        if pair.paper is not None:
            line["paper_place"] = 100 * axis.place(pair.paper)
        lines.append(line)
    return {"lines": lines, "ticks": [(100 * place, text) for place, text in axis.ticks]}


def plots(rows: Sequence[Row], tasks: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Learning curves of mean IU, of further tasks too, and loss, if any run logged them."""
    drawn = []
    names = {curves.MEAN_IU: "mean IU (%), validation set"}
    names |= {f"val/{task}_miou": f"{task} mean IU (%), validation set" for task in tasks}
    for name, title in (names | {curves.LOSS: "loss"}).items():
        by_row = [
            read_undamaged(curves.curves, [run.folder for run in row.runs], name) for row in rows
        ]
        lines = [line for row in by_row for line in row.seeds]
        if not lines:
            continue
        across = curves.step_axis(lines)
        is_loss = name == curves.LOSS
        up = curves.value_axis(lines, times=1 if is_loss else 100, log=is_loss)
        drawn.append(
            {
                "title": title + (", logarithmic" if up.log else ""),
                "across": [(100 * place, text) for place, text in across.ticks],
                "up": [(100 * place, text) for place, text in up.ticks],
                "rows": [
                    {
                        "seeds": [curves.path(line, across, up) for line in row.seeds],
                        "mean": curves.path(row.mean, across, up) if row.mean else "",
                    }
                    for row in by_row
                ],
            }
        )
    return drawn


def search_plots(folders: Sequence[Path]) -> list[tuple[str, str]]:
    """Names and data URLs of the plots that a search has left in the folder of its sweep."""
    homes = dict.fromkeys(home for folder in folders for home in (folder, folder.parent))
    files = [file for home in homes for name in SEARCH for file in home.glob(f"search/{name}*.png")]
    return [
        (file.stem.replace("_", " "), base64.b64encode(file.read_bytes()).decode())
        for file in files
        if file.is_file() and file.stat().st_size <= LARGEST
    ]


def legends(rows: Sequence[Row]) -> list[list[tuple[str, str]]]:
    """Class names with their colours, one legend per distinct list of classes."""
    lists = _once(tuple(row.runs[0].result.get("class_iou", {})) for row in rows)
    palette = voc_palette(max((256, *map(len, lists))))
    return [
        [(name, "#" + bytes(palette[i].tolist()).hex()) for i, name in enumerate(names)]
        for names in lists
        if names
    ]


def _percents(row: Row, key: str) -> list[float]:
    each = [100 * score for score in row.each[key] if score is not None]
    paper = [row.paper.scores[key]] if row.paper and key in row.paper.scores else []
    return each + paper


def _once(values: Any) -> list[Any]:
    """Distinct non-empty values, in order of first occurrence."""
    return list(dict.fromkeys(value for value in values if value))
