"""The confusion matrix of a whole set."""

import torch
from torch import Tensor
from torchmetrics import Metric

from fcnexp.labels import VOID
from fcnexp.task.four_scores import scores_of


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
