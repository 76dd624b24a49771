"""Scores near object boundaries, as a table and a plot: trimap.json, trimap.csv, trimap.png."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from fcnexp.reporting.records import percent
from fcnexp.reporting.result import finite
from fcnexp.reporting.tables import NAMES
from fcnexp.system.atomic import atomic_file, write_atomically
from fcnexp.task.four_scores import scores_of

RULE = (
    "pixels within WIDTH pixels of the nearest pixel with a different ground-truth label, void "
    "included; void pixels are not scored"
)
SHOWN = {
    "miou": ("#0072b2", "o"),
    "pixel_acc": ("#d55e00", "s"),
}  # colour-blind safe (Okabe and Ito)


def write_trimap(
    folder: Path, widths: Sequence[int], matrices: Tensor, every: Tensor
) -> dict[str, Any]:
    """Write all three files; return the contents of trimap.json.

    widths: of the bands, pixels. matrices: int64 (W, K, K), by band. every: (K, K), all pixels.
    """
    bands = [
        {"width": width, **_scores(matrix)} for width, matrix in zip(widths, matrices, strict=True)
    ]
    record = {"rule": RULE, "bands": bands, "whole": _scores(every)}
    write_atomically(folder / "trimap.json", json.dumps(record, indent=2) + "\n")
    with atomic_file(folder / "trimap.csv") as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["width", "pixels", *NAMES])
        writer.writeheader()
        writer.writerows([*bands, {"width": "all", **record["whole"]}])  # type: ignore[dict-item]  # width is text
    draw_trimap(folder / "trimap.png", record)
    return record


def trimap_lines(record: dict[str, Any]) -> list[list[str]]:
    """The record as table cells, header first, scores in percent."""
    whole = record["whole"]
    lines = [["width (px)", "pixels (%)", *(NAMES[key] for key in NAMES)]]
    for band in [*record["bands"], {"width": "all", **whole}]:
        share = band["pixels"] / whole["pixels"] if whole["pixels"] else None
        lines.append([str(band["width"]), percent(share), *(percent(band[key]) for key in NAMES)])
    return lines


def draw_trimap(path: Path, record: dict[str, Any]) -> None:
    """Plot mean IU and pixel accuracy against band width; dashed lines are whole images."""
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for key, (colour, mark) in SHOWN.items():
        points = [(b["width"], 100 * b[key]) for b in record["bands"] if b[key] is not None]
        axes.plot(*zip(*points, strict=True) if points else ((), ()), color=colour, marker=mark)
        axes.lines[-1].set_label(f"{NAMES[key]}, within the band")
        if record["whole"][key] is not None:
            label = f"{NAMES[key]}, whole images"
            axes.axhline(100 * record["whole"][key], color=colour, linestyle="--", label=label)
    axes.set_xlabel("band width (pixels from a ground-truth boundary)")
    axes.set_ylabel("%")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    with atomic_file(path) as part:
        figure.savefig(part, dpi=150)


def _scores(matrix: Tensor) -> dict[str, float | None]:
    return {"pixels": int(matrix.sum()), **finite(scores_of(matrix))}
