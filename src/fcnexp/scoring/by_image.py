"""Means over images: each image is scored by itself, as other tools do.

They weigh a small image, and a class that is rare but in many images, differently from one matrix
over the whole set. Each rule was read in the source file named next to it. Void pixels are dropped
from label and prediction, as segmentation_models' `ignore_index` does; the other two know no void.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fcnexp.scoring.scores import class_iu


class ByImage(NamedTuple):
    """One rule. words: how it averages, and how it counts a class that is absent from an image."""

    source: str
    words: str
    miou: Callable[[np.ndarray], float]


def image_iu(margins: np.ndarray) -> np.ndarray:
    """Mean IU of each image over the classes in its ground truth or prediction, (N,); NaN if void.

    margins: (N, 3, K), see `PerImage.margins`.
    """
    iu = class_iu(margins)
    counted = ~np.isnan(iu)
    with np.errstate(invalid="ignore"):
        return np.nansum(iu, -1) / counted.sum(-1)


def iu_of_image(matrix: np.ndarray) -> float:
    """`image_iu` of the confusion matrix of one image, int64 (K, K)."""
    margins = np.stack([matrix.diagonal(), matrix.sum(1), matrix.sum(0)])
    return float(image_iu(margins[None].astype(float))[0])


def _mean_of_pairs(margins: np.ndarray) -> float:
    iu = class_iu(margins)
    counted = iu[~np.isnan(iu)]
    return float(counted.mean()) if counted.size else float("nan")


def _mean_of_images(margins: np.ndarray) -> float:
    """All classes of an image are one: hits / (pixels + misses)."""
    hits, truth, guess = margins.sum(-1).T
    union = truth + guess - hits
    return _mean(np.divide(hits, union, out=np.ones_like(hits), where=union > 0))


def _mean_with_ones(margins: np.ndarray) -> float:
    iu = class_iu(margins)
    return _mean(np.where(np.isnan(iu), 1.0, iu))


def _mean_of_present(margins: np.ndarray) -> float:
    present = margins[:, 1] > 0
    sums = np.where(present, class_iu(margins), 0).sum(-1)
    some = present.any(-1)
    return _mean(sums[some] / present.sum(-1)[some])


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


BY_IMAGE = {
    "torchmetrics_images": ByImage(
        "torchmetrics 1.9 torchmetrics/segmentation/mean_iou.py, MeanIoU",
        "mean over all pairs of image and class; pairs without pixels are dropped",
        _mean_of_pairs,
    ),
    "smp_micro_images": ByImage(
        "segmentation_models.pytorch metrics/functional.py, iou_score, micro-imagewise",
        "mean over images; an image's classes are pooled",
        _mean_of_images,
    ),
    "smp_macro_images": ByImage(
        "segmentation_models.pytorch metrics/functional.py, iou_score, macro-imagewise",
        "mean over classes and images; a class that an image has not counts as 1",
        _mean_with_ones,
    ),
    "monai_images": ByImage(
        "MONAI monai/metrics/meaniou.py, MeanIoU, ignore_empty=True, reduction=mean",
        "mean over images of the mean over the classes in the ground truth",
        _mean_of_present,
    ),
}
