"""One confusion matrix, scored as other tools score it.

They differ in what becomes of a class that the truth, or truth and prediction, do not have. Each
rule was read in the file named beside it, and is told here in our words.

Not here: torchmetrics' `segmentation.MeanIoU`, a mean over images, which no one matrix can give.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fcnexp.task.four_scores import class_accuracy, class_iu

DROPPED = None  # in place of a value: the class does not count


class Convention(NamedTuple):
    """How a tool averages over classes. DROPPED: such a class is left out of the mean.

    source: where that was read.
    absent: IU of a class that is neither in the truth nor predicted; NaN makes the mean NaN.
    predicted: IU of one that is predicted but not in the truth.
    accuracy: of such a class, in the mean accuracy.
    has_mean_acc: whether the tool gives a mean accuracy.
    """

    source: str
    absent: float | None = DROPPED
    predicted: float | None = 0.0
    accuracy: float | None = DROPPED
    has_mean_acc: bool = True

    def words(self) -> dict[str, str]:
        """What the classes count as that the truth does not have, for people.

        `in both`: in mean IU and in mean accuracy, from which others leave them out.
        """
        also = " in both" if self.accuracy is not DROPPED else ""
        return {"absent": _said(self.absent), "predicted_only": _said(self.predicted) + also}


CONVENTIONS = {
    "release": Convention("fcn.berkeleyvision.org score.py"),
    # It counts each image in float32, and rounds to two digits of a percent.
    "mmseg": Convention("mmsegmentation mmseg/evaluation/metrics/iou_metric.py, nan_to_num=None"),
    "torchvision": Convention(
        "torchvision references/segmentation/utils.py, ConfusionMatrix",
        absent=math.nan,
        has_mean_acc=False,  # it lists the classes' accuracies
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
    """`miou`, `pixel_acc` and `mean_acc` of the whole set by convention, fractions in float64.

    matrix: int64 (K, K), rows truth. None: the tool gives no such score. NaN: nothing was counted,
    or the tool says NaN.
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
    """Mean of the values where the truth has the class, and of what a rule puts elsewhere."""
    counted = [values[truth]]
    counted += [torch.full_like(values[where], v) for where, v in others if v is not DROPPED]
    return float(torch.cat(counted).mean())


def _said(value: float | None) -> str:
    if value is DROPPED:
        return "dropped"
    return "NaN" if math.isnan(value) else f"{value:g}"
