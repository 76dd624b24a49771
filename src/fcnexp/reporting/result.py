"""Write the record of a run: config.yaml, confusion.csv, images.npz and, last, result.json.

The counts of a further task are in a folder of its name, its scores in `tasks` of result.json.
"""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from fcnexp.reporting.image_facts import image_conventions, interval_facts
from fcnexp.reporting.records import CONFIG, CONFUSION, RESULT
from fcnexp.scoring.per_image import PerImage, write_per_image
from fcnexp.scoring.tasks import Task
from fcnexp.system.atomic import atomic_file, write_atomically
from fcnexp.task.conventions import CONVENTIONS, by_convention
from fcnexp.task.four_scores import class_accuracy, class_iu, mean_iu_of_present, scores_of


class Counted(Protocol):
    """Counts of one task, as of `task.counting.Counts`; matrix: int64 (K, K), rows ground truth."""

    task: Task
    matrix: Tensor
    per_image: PerImage | None


def write_config(folder: Path, text: str) -> None:
    """Write the resolved config as YAML; the run can be repeated from it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / CONFIG, text)


def write_record(folder: Path, counted: Sequence[Counted], facts: dict[str, Any]) -> dict[str, Any]:
    """Write the counts of all tasks, then `write_result`; return the contents of result.json."""
    first, *others = counted
    for each in others:
        place = each.task.folder(folder)
        write_counts(place, each.matrix, each.task.classes, each.per_image)
    further = {c.task.name: scores_of_task(c.matrix, c.task.classes, c.per_image) for c in others}
    classes = first.task.classes
    return write_result(folder, first.matrix, classes, facts, first.per_image, further)


def write_result(
    folder: Path,
    matrix: Tensor,
    class_names: tuple[str, ...],
    facts: dict[str, Any],
    per_image: PerImage | None = None,
    further: Mapping[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Write confusion.csv, images.npz, then result.json; return the contents of result.json.

    matrix: int64 (K, K), rows: ground truth. facts: more plain values to store. further:
    `scores_of_task` of the other tasks by name. Scores are fractions in the release's convention;
    null if nothing was counted.
    """
    write_counts(folder, matrix, class_names, per_image)
    result = {
        "status": "done",
        **scores_of_task(matrix, class_names, per_image),
        **({"tasks": further} if further else {}),
        **facts,
        "torch": torch.__version__,
    }
    write_atomically(folder / RESULT, json.dumps(result, indent=2) + "\n")
    return result


def write_counts(
    folder: Path, matrix: Tensor, class_names: tuple[str, ...], per_image: PerImage | None
) -> None:
    """Write images.npz, if images were recorded, and confusion.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    if per_image is not None:
        write_per_image(folder, per_image, matrix.cpu().numpy())
    with atomic_file(folder / CONFUSION) as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["truth \\ prediction", *class_names])
        for name, row in zip(class_names, matrix.tolist(), strict=True):
            writer.writerow([name, *row])


def scores_of_task(
    matrix: Tensor, class_names: tuple[str, ...], per_image: PerImage | None
) -> dict[str, Any]:
    """What result.json says of one task's scores."""
    return {
        **plain_scores(matrix, class_names, per_image),
        "convention": "release: one matrix; classes not in ground truth or prediction are left out",
        "miou_of_classes_in_truth": finite({"": mean_iu_of_present(matrix)})[""],
        "pixels": int(matrix.sum()),
    }


def plain_scores(
    matrix: Tensor, class_names: tuple[str, ...], per_image: PerImage | None = None
) -> dict[str, Any]:
    """The four scores, per-class scores, and scores in other conventions, as in result.json.

    matrix: int64 (K, K), rows: ground truth. per_image: adds intervals and means over images.
    """
    conventions: dict[str, dict[str, Any]] = {
        name: {**finite(scores), "counted_as": CONVENTIONS[name].words()}
        for name, scores in by_convention(matrix).items()
    }
    more: dict[str, Any] = {}
    if per_image is not None:
        conventions |= image_conventions(per_image)
        more["intervals"] = interval_facts(per_image)
    return {
        "scores": finite(scores_of(matrix)),
        **more,
        "conventions": conventions,
        "class_iou": finite(dict(zip(class_names, class_iu(matrix).tolist(), strict=True))),
        "class_acc": finite(dict(zip(class_names, class_accuracy(matrix).tolist(), strict=True))),
    }


def finite(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """The same values with NaN replaced by None, for JSON."""
    return {n: None if v is None or math.isnan(v) else v for n, v in values.items()}
