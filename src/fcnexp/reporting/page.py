"""A report as one HTML page that needs no network: texts, tables, curves and pictures in a file."""

import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import fcnexp
from fcnexp.data.palette import voc_palette
from fcnexp.errors import DataError
from fcnexp.reporting import curves, summary, targets
from fcnexp.reporting.comparison import Row, mean
from fcnexp.reporting.confusion import read_confusion
from fcnexp.reporting.costs import costs, in_words, published_times
from fcnexp.reporting.grid import read_grid
from fcnexp.reporting.setting_diff import all_differences
from fcnexp.reporting.summary import Summary
from fcnexp.reporting.tables import NAMES, percent

T = TypeVar("T")
TEMPLATES = Path(__file__).with_name("templates")


def page(report: Summary) -> str:
    """The page. All text from runs is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "in_words": in_words}
    rows = report.rows
    matrices = [readable(read_confusion, [run.folder for run in row.runs]) for row in rows]
    return environment.get_template("report.html.j2").render(
        report=report,
        rows=rows,
        header=header(report),
        scores=NAMES,
        notes=[*summary.notes(report), *(f"not drawn: {line}" for line in report.beside)],
        bars={key: bars(rows, key) for key in NAMES if rows},
        has_paper=any(row.paper for row in rows),
        beside=targets.beside,
        not_ours=targets.not_ours(rows),
        plots=plots(rows),
        classes=class_scores(rows),
        confusions=[matrix and matrix._asdict() for matrix in matrices],
        has_confusion=any(matrices),
        grid=read_grid(rows),
        legends=legends(rows),
        costs=costs(rows),
        times=published_times(rows),
        devices=_once(str(run.result.get("device", "")) for run in summary.runs_of(report)),
        differences=all_differences([row.runs[0] for row in rows]),
        failure=summary.failure,
        mark=summary.mark,
        commands=summary.commands(report),
    )


def readable(read: Callable[..., T], folders: Sequence[Path], *what: str) -> T:
    """What is read of runs, leaving out those whose file is damaged, which the notes tell of."""
    whole = []
    for folder in folders:
        with suppress(DataError):
            read([folder], *what)
            whole.append(folder)
    return read(whole, *what)


def header(report: Summary) -> dict[str, Any]:
    """Facts of the whole report: when, of which versions, how many runs, seeds, conventions."""
    runs = summary.runs_of(report)
    return {
        "title": report.name,
        "again": shlex.join(["python", "-m", "fcnexp.report", *map(str, report.folders)]),
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
    """One score of each row, in percent, and places along an axis from 0, in percent of it."""
    numbers = [beside for row in rows for beside in _percents(row, key)]
    axis = curves.value_axis([[(0.0, number)] for number in [0.0, *numbers]])
    lines = []
    for row in rows:
        target = targets.beside(row, key)
        each = [
            (seed, 100 * score, 100 * axis.place(100 * score))
            for seed, score in zip(row.seeds, row.each[key], strict=True)
            if score is not None
        ]
        spread = 100 * (row.spreads[key] or 0)
        line: dict[str, Any] = {"row": row, "target": target, "each": each, "spread": spread}
        if target.ours is not None:
            ends = max(target.ours - spread, 0), target.ours + spread
            line["place"] = 100 * axis.place(target.ours)
            line["ends"] = [100 * min(max(axis.place(end), 0), 1) for end in ends]
        if target.paper is not None:
            line["paper_place"] = 100 * axis.place(target.paper)
        lines.append(line)
    return {"lines": lines, "ticks": [(100 * place, text) for place, text in axis.ticks]}


def plots(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Learning curves of mean IU and of the loss, where any run logged them."""
    drawn = []
    for name, title in ((curves.MEAN_IU, "mean IU (%), unseen half"), (curves.LOSS, "loss")):
        by_row = [readable(curves.curves, [run.folder for run in row.runs], name) for row in rows]
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


def class_scores(rows: Sequence[Row]) -> dict[str, list[float | None]]:
    """IU of each class, mean over seeds, by row; a fraction."""
    by_row = [[run.result.get("class_iou", {}) for run in row.runs] for row in rows]
    names = _once(name for seeds in by_row for classes in seeds for name in classes)
    return {name: [mean([c.get(name) for c in seeds]) for seeds in by_row] for name in names}


def legends(rows: Sequence[Row]) -> list[list[tuple[str, str]]]:
    """Classes with their colours in pictures, once for each list of classes among the rows."""
    lists = _once(tuple(row.runs[0].result.get("class_iou", {})) for row in rows)
    palette = voc_palette()
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
    """Each value but empty ones once, in the order of their first."""
    return list(dict.fromkeys(value for value in values if value))
