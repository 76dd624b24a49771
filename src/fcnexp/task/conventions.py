"""Scores of one confusion matrix by the conventions of other tools.

Tools differ in how they count a class that is absent from the ground truth, or from both ground
truth and prediction. Each rule was read in the source file named next to it.

Means over images, such as torchmetrics' `segmentation.MeanIoU`, need more than one matrix; see
`scoring.by_image`.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fcnexp.task.four_scores import class_accuracy, class_iu

DROPPED = None  # instead of a value: the class is left out of the mean


class Convention(NamedTuple):
    """Rule by which a tool averages over classes; DROPPED leaves a class out of the mean.

    source: file that the rule was read in.
    absent: IU of a class that is neither in the ground truth nor predicted; NaN makes the mean NaN.
    predicted: IU of a class that is predicted but not in the ground truth.
    accuracy: accuracy of such a class, in the mean accuracy.
    has_mean_acc: True if the tool reports a mean accuracy.
    """

    source: str
    absent: float | None = DROPPED
    predicted: float | None = 0.0
    accuracy: float | None = DROPPED
    has_mean_acc: bool = True

    def words(self) -> dict[str, str]:
        """Values that classes missing from the ground truth count as, for display.

        `in both` means in mean IU and in mean accuracy; other tools drop them from the latter.
        """
        also = " in both" if self.accuracy is not DROPPED else ""
        return {"absent": _shown(self.absent), "predicted_only": _shown(self.predicted) + also}


CONVENTIONS = {
    "release": Convention("fcn.berkeleyvision.org score.py"),
    # mmseg counts each image in float32 and rounds percentages to two digits.
    "mmseg": Convention("mmsegmentation mmseg/evaluation/metrics/iou_metric.py, nan_to_num=None"),
    "torchvision": Convention(
        "torchvision references/segmentation/utils.py, ConfusionMatrix",
        absent=math.nan,
        has_mean_acc=False,  # it lists accuracies by class
    ),
    "detectron2": Convention(
        "detectron2 detectron2/evaluation/sem_seg_evaluation.py", predicted=DROPPED
    ),
    "paddleseg": Convention(
        "PaddleSeg@d7975e7c paddleseg/utils/metrics.py, mean_iou",
        absent=1.0,
        has_mean_acc=False,  # its `Acc` is the pixel accuracy
    ),
    "paddleseg_older": Convention(
        "PaddleSeg@c3b7b6ec paddleseg/utils/metrics.py, mean_iou", absent=0.0, has_mean_acc=False
    ),
    "torchmetrics": Convention(
        "torchmetrics MulticlassJaccardIndex and MulticlassAccuracy, average=macro", accuracy=0.0
    ),
    "present_in_truth": Convention(
        "PAMI on SIFT Flow: 30 of its 33 classes are in the test set", predicted=DROPPED
    ),
}


def by_convention(matrix: Tensor) -> dict[str, dict[str, float | None]]:
    """Return `miou`, `pixel_acc` and `mean_acc` of the whole set by convention, in [0, 1].

    matrix: int64 (K, K), rows ground truth; scores are computed in float64. A score is None if the
    tool does not report it, NaN if nothing was counted or the tool reports NaN.
    """
    exact = matrix.cpu().double()
    truth = exact.sum(1) > 0
    predicted = (exact.sum(0) > 0) & ~truth
    pixel_acc = float(exact.diagonal().sum() / exact.sum())
    iu, accuracy = class_iu(matrix), class_accuracy(matrix)
    scores: dict[str, dict[str, float | None]] = {}
    for name, rule in CONVENTIONS.items():
        elsewhere = [(~truth & ~predicted, rule.absent), (predicted, rule.predicted)]
        mean_acc = _mean(accuracy, truth, [(predicted, rule.accuracy)])
        scores[name] = {
            "miou": _mean(iu, truth, elsewhere),
            "pixel_acc": pixel_acc,
            "mean_acc": mean_acc if rule.has_mean_acc else None,
        }
    return scores


def _mean(values: Tensor, truth: Tensor, others: list[tuple[Tensor, float | None]]) -> float:
    """Mean over the classes in the ground truth, and over the values that a rule gives others."""
    counted = [values[truth]]
    counted += [torch.full_like(values[where], v) for where, v in others if v is not DROPPED]
    return float(torch.cat(counted).mean())


def _shown(value: float | None) -> str:
    if value is DROPPED:
        return "dropped"
    return "NaN" if math.isnan(value) else f"{value:g}"
