"""Confusion matrix of a whole set, as a torchmetrics metric."""

import torch
from torch import Tensor
from torchmetrics import Metric

from fcnexp import VOID, WIDE_VOID, void_of
from fcnexp.task.four_scores import scores_of
from fcnexp.task.maps import check_same


class SegmentationScores(Metric):
    """Confusion matrix of all pixels seen, int64 (K, K): rows ground truth, columns prediction.

    Counts stay integers, so they are exact for any number of images and processes. Void pixels are
    not counted. Source: sec. 5; the release's `score.py`.
    """

    higher_is_better = True
    full_state_update = False
    matrix: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        zeros = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.add_state("matrix", zeros, dist_reduce_fx="sum")
        self.latest: list[Tensor] = []  # matrix of each image in the last batch

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count one batch: class indices (N, H, W), any integer type; label with void.

        Raises ValueError, and counts nothing, if one is not of integers, if their shapes differ,
        or if a value is not a class.
        """
        check_same(prediction, label)
        images = zip(prediction, label, strict=True)
        self.latest = [count_pairs(*image, self.num_classes) for image in images]
        for counts in self.latest:
            self.matrix += counts

    def compute(self) -> dict[str, float]:
        """Return the four scores as fractions, see `scores_of`."""
        return scores_of(self.matrix)


def count_pairs(prediction: Tensor, label: Tensor, classes: int) -> Tensor:
    """Confusion matrix of one image, int64 (K, K): rows ground truth, columns prediction.

    Raises ValueError where `SegmentationScores.update` does.
    """
    check_same(prediction, label)
    # Void gets the last row, dropped below: cheaper than selecting the other pixels.
    last = VOID
    if void_of(label) != VOID:
        last, void = classes, label == void_of(label)
        _refuse_outside("label", label.masked_fill(void, 0), classes - 1)
        label = label.int().masked_fill(void, last)
    elif classes > VOID:
        raise ValueError(
            f"label has dtype {label.dtype}, in which {VOID} is void, not one of {classes} "
            f"classes; give int16, with {WIDE_VOID} for void"
        )
    _refuse_outside("label", label, last)
    _refuse_outside("prediction", prediction, classes - 1)
    # The smallest type that holds a cell's number, since memory traffic takes the time.
    cell = torch.int16 if (last + 1) * classes <= 2**15 else torch.int32
    cells = torch.add(prediction.flatten().to(cell), label.flatten().to(cell), alpha=classes)
    counts = torch.bincount(cells, minlength=(last + 1) * classes).view(-1, classes)
    if counts[classes:last].any():
        raise ValueError(f"label outside 0..{classes - 1} and void")
    return counts[:classes]


def _refuse_outside(what: str, values: Tensor, largest: int) -> None:
    """Raise ValueError if a value is not in 0..`largest`."""
    if not values.numel() or (values.dtype == torch.uint8 and largest == VOID):
        return
    low, high = (int(value) for value in values.aminmax())
    if low < 0 or high > largest:
        raise ValueError(f"{what} {low if low < 0 else high} is outside 0..{largest}")
