"""The paper's four scores, from one confusion matrix over the whole set."""

import torch
from torch import Tensor
from torchmetrics import Metric

from fcnexp.labels import VOID


class SegmentationScores(Metric):
    """Confusion matrix of all pixels seen, int64 (K, K): rows truth, columns prediction.

    Counts stay integers to the end, so they are exact for any number of images and processes.
    Void pixels are not counted. Source: sec. 5; the release's `score.py`.
    """

    higher_is_better = True
    full_state_update = False
    matrix: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        zeros = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.add_state("matrix", zeros, dist_reduce_fx="sum")

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count one batch: class indices (N, H, W), any integer type; label with VOID."""
        # Void gets a row of its own, left out below: cheaper than picking the other pixels out.
        cells = label.flatten().long() * self.num_classes + prediction.flatten().long()
        counts = torch.bincount(cells, minlength=(VOID + 1) * self.num_classes)
        rows = counts.view(-1, self.num_classes)
        if rows[self.num_classes : VOID].any() or len(rows) > VOID + 1:
            raise ValueError(f"label or prediction outside 0..{self.num_classes - 1}")
        self.matrix += rows[: self.num_classes]

    def compute(self) -> dict[str, float]:
        """The four scores as fractions, see `scores_of`."""
        return scores_of(self.matrix)


def scores_of(matrix: Tensor) -> dict[str, float]:
    """Pixel accuracy, mean class accuracy, mean IU and frequency-weighted IU, in [0, 1].

    matrix: int64 (K, K), rows truth. Computed in float64 by the release's convention: a class that
    is neither in the truth nor predicted drops out of the mean IU; one that is predicted but not in
    the truth counts as IU 0, and drops out of the mean accuracy. NaN where nothing was counted.
    """
    hits, truth, _ = _counts(matrix)
    iu = class_iu(matrix)
    present = truth > 0
    return {
        "pixel_acc": float(hits.sum() / truth.sum()),
        "mean_acc": float((hits / truth).nanmean()),
        "miou": float(iu.nanmean()),
        "fw_iou": float((truth * iu)[present].sum() / truth.sum()),
    }


def mean_iu_of_present(matrix: Tensor) -> float:
    """Mean IU over the classes that are in the truth, whatever is predicted, in [0, 1]."""
    return float(class_iu(matrix)[matrix.sum(1).cpu() > 0].mean())


def class_iu(matrix: Tensor) -> Tensor:
    """Intersection over union of each class, float64 (K,); NaN where truth and prediction lack it.

    matrix: int64 (K, K), rows truth.
    """
    hits, truth, predicted = _counts(matrix)
    return hits / (truth + predicted - hits)


def class_accuracy(matrix: Tensor) -> Tensor:
    """Share of each class's pixels that are predicted right, float64 (K,); NaN where it is absent.

    matrix: int64 (K, K), rows truth.
    """
    hits, truth, _ = _counts(matrix)
    return hits / truth


def _counts(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    exact = matrix.cpu().double()
    return exact.diagonal(), exact.sum(1), exact.sum(0)
