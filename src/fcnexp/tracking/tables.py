"""W&B tables of a finished run: per-class scores, confusion matrix, published scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from fcnexp.papers.published import SCORES, comparable, published
from fcnexp.reporting.result import Counted

CLASSES, PAPER = "val/classes", "val/paper"
CONFUSION, PICTURE = "val/confusion", "val/confusion_picture"
MAX_CELLS = 10_000  # W&B's limit on rows of a chart


def values_of_tasks(
    result: Mapping[str, Any], counted: Sequence[Counted], config: Mapping[str, Any]
) -> dict[str, Any]:
    """`result_values` of each task; the keys of a further task bear its name, `val/geo_classes`.

    result: of result.json. counted: of each task. config: resolved, plain.
    """
    values: dict[str, Any] = {}
    for counts in counted:
        task, paper = counts.task, config.get("paper")
        part = result["tasks"][task.name] if task.is_further else result
        if task.is_further and paper is not None:
            config = {**config, "paper": {**paper, "task": task.name}}
        found = result_values(part, counts.matrix, task.classes, config)
        values |= {task.key(key): value for key, value in found.items()}
    return values


def result_values(
    result: Mapping[str, Any], matrix: Tensor, class_names: Sequence[str], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Tables, charts and `iou/CLASS` numbers (for bar charts), by the key to log them under.

    result: of result.json, or its part on a further task. matrix: int64 (K, K), rows: ground truth.
    config: resolved, plain.
    """
    import wandb

    fractions = of_truth(matrix.cpu().numpy())
    values: dict[str, Any] = {
        f"iou/{name}": iou for name, iou in result["class_iou"].items() if iou is not None
    }
    values[CLASSES] = wandb.Table(
        columns=["class", "IU", "accuracy", "pixels"],
        data=class_rows(result, matrix.sum(1).tolist()),
    )
    values[PICTURE] = wandb.Image(confusion_picture(fractions, class_names))
    if len(class_names) ** 2 <= MAX_CELLS:
        values[CONFUSION] = _chart(fractions, class_names)
    if rows := paper_rows(result, config):
        names = "score ours paper difference row source status remark"
        values[PAPER] = wandb.Table(columns=[*names.split()], data=rows)
    return values


def class_rows(result: Mapping[str, Any], pixels: Sequence[int]) -> list[list[Any]]:
    """Rows of class name, IU and accuracy (fractions, None if undefined), ground-truth pixels."""
    iou, accuracy = result["class_iou"], result["class_acc"]
    return [
        [name, iou[name], accuracy[name], count] for name, count in zip(iou, pixels, strict=True)
    ]


def of_truth(matrix: np.ndarray) -> np.ndarray:
    """Confusion matrix as fractions of each class's true pixels, (K, K); 0 for absent classes."""
    return matrix / np.maximum(matrix.sum(1, keepdims=True), 1)


def paper_rows(result: Mapping[str, Any], config: Mapping[str, Any]) -> list[list[Any]]:
    """Our scores and the paper's in percent, one row per published score; empty without a paper.

    If ours was measured on different data, the difference is None and a remark says why.
    """
    theirs = published(config.get("paper"))
    if theirs is None:
        return []
    remark = ""
    if not comparable(theirs, config):
        remark = "different data from the paper's"
    elif theirs.without:
        remark = f"the paper's mean IU leaves out {theirs.without}"
    rows: list[list[Any]] = []
    for score in (name for name in SCORES if name in theirs.scores):
        fraction, figure = result["scores"][score], theirs.scores[score]
        ours = None if fraction is None else 100 * fraction
        not_comparable = bool(remark) and (score == "miou" or not theirs.without)
        difference = None if ours is None or not_comparable else ours - figure
        status = theirs.status
        rows.append([score, ours, figure, difference, theirs.row, theirs.source, status, remark])
    return rows


def confusion_picture(fractions: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """Heat map of the fractions, uint8 (H, W, 3); readable up to 60 classes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    side = min(12.0, 3 + 0.2 * len(class_names))  # inches, of 100 pixels
    size = 9 if len(class_names) <= 30 else 6  # points
    figure = Figure(figsize=(side, side), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = axes.imshow(fractions, vmin=0, vmax=1, cmap="Blues", interpolation="nearest")
    axes.set_xticks(range(len(class_names)), class_names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(class_names)), class_names, fontsize=size)
    axes.set_xlabel("prediction")
    axes.set_ylabel("ground truth")
    figure.colorbar(shown, ax=axes, fraction=0.04, label="fraction of the true pixels")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _chart(fractions: np.ndarray, class_names: Sequence[str]) -> Any:
    """W&B's own confusion chart; its table is logged as KEY_table."""
    import wandb

    rows = [
        [truth, prediction, float(fractions[i, j])]
        for i, truth in enumerate(class_names)
        for j, prediction in enumerate(class_names)
    ]
    columns: list[str | int] = [
        "Actual",
        "Predicted",
        "nPredictions",
    ]  # names that the chart expects
    return wandb.plot_table(
        vega_spec_name="wandb/confusion_matrix/v1",
        data_table=wandb.Table(columns=columns, data=rows),
        fields={str(name): str(name) for name in columns},
        string_fields={"title": "fraction of the true pixels"},
    )
