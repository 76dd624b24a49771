"""What W&B shows of a finished run: each class, the confusions, and the paper's figures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from fcnexp.papers.published import SCORES, comparable, published

CLASSES, CONFUSION, PICTURE, PAPER = (
    *("val/classes", "val/confusion", "val/confusion_picture"),
    "val/paper",
)
MOST_CELLS = 10_000  # of a chart: W&B takes no more rows


def result_values(
    result: Mapping[str, Any], matrix: Tensor, class_names: Sequence[str], config: Mapping[str, Any]
) -> dict[str, Any]:
    """All of it, by the key it is logged under.

    result: of result.json. matrix: int64 (K, K), rows truth. config: resolved, plain.
    Beside tables `iou/CLASS` as numbers, which bars can be drawn of.
    """
    import wandb

    shares = of_truth(matrix.cpu().numpy())
    values: dict[str, Any] = {
        f"iou/{name}": iou for name, iou in result["class_iou"].items() if iou is not None
    }
    values[CLASSES] = wandb.Table(
        columns=["class", "IU", "accuracy", "pixels"],
        data=class_rows(result, matrix.sum(1).tolist()),
    )
    values[PICTURE] = wandb.Image(confusion_picture(shares, class_names))
    if len(class_names) ** 2 <= MOST_CELLS:
        values[CONFUSION] = _chart(shares, class_names)
    if rows := paper_rows(result, config):
        columns: list[str | int] = [
            "score",
            "ours",
            "paper",
            "difference",
            "row",
            "source",
            "status",
            "remark",
        ]
        values[PAPER] = wandb.Table(columns=columns, data=rows)
    return values


def class_rows(result: Mapping[str, Any], pixels: Sequence[int]) -> list[list[Any]]:
    """Class, IU and accuracy as fractions (None where it has none), pixels of the truth."""
    iou, accuracy = result["class_iou"], result["class_acc"]
    return [
        [name, iou[name], accuracy[name], count] for name, count in zip(iou, pixels, strict=True)
    ]


def of_truth(matrix: np.ndarray) -> np.ndarray:
    """Confusions as shares of each class's true pixels, (K, K); 0 where it has none."""
    return matrix / np.maximum(matrix.sum(1, keepdims=True), 1)


def paper_rows(result: Mapping[str, Any], config: Mapping[str, Any]) -> list[list[Any]]:
    """Ours beside the paper's, in percent, a row for each score that it prints; none without one.

    Difference is None, and a remark says why, where ours was measured on other data.
    """
    theirs = published(config.get("paper"))
    if theirs is None:
        return []
    remark = ""
    if not comparable(theirs, config):
        remark = "other data than the paper's"
    elif theirs.without:
        remark = f"the paper's mean IU is without {theirs.without}"
    rows: list[list[Any]] = []
    for score in (name for name in SCORES if name in theirs.scores):
        fraction, figure = result["scores"][score], theirs.scores[score]
        ours = None if fraction is None else 100 * fraction
        apart = bool(remark) and (score == "miou" or not theirs.without)
        difference = None if ours is None or apart else ours - figure
        status = theirs.status
        rows.append([score, ours, figure, difference, theirs.row, theirs.source, status, remark])
    return rows


def confusion_picture(shares: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """The shares as shades with the classes' names, uint8 (H, W, 3); readable to 60 classes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    side = min(12.0, 3 + 0.2 * len(class_names))  # inches, of 100 pixels
    size = 9 if len(class_names) <= 30 else 6  # points
    figure = Figure(figsize=(side, side), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues", interpolation="nearest")
    axes.set_xticks(range(len(class_names)), class_names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(class_names)), class_names, fontsize=size)
    axes.set_xlabel("prediction")
    axes.set_ylabel("truth")
    figure.colorbar(shown, ax=axes, fraction=0.04, label="share of the true pixels")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _chart(shares: np.ndarray, class_names: Sequence[str]) -> Any:
    """W&B's own chart of confusions, and its table, which is logged as KEY_table."""
    import wandb

    rows = [
        [truth, prediction, float(shares[i, j])]
        for i, truth in enumerate(class_names)
        for j, prediction in enumerate(class_names)
    ]
    columns: list[str | int] = ["Actual", "Predicted", "nPredictions"]  # as the chart calls them
    return wandb.plot_table(
        vega_spec_name="wandb/confusion_matrix/v1",
        data_table=wandb.Table(columns=columns, data=rows),
        fields={str(name): str(name) for name in columns},
        string_fields={"title": "share of the true pixels"},
    )
