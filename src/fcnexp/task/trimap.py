"""Scores near the boundaries between classes only: in a band around them, the trimap.

A pixel's distance is that to the nearest pixel which the truth gives another label, void included:
VOC draws a rim of void along objects, and the band begins on both sides of it. Void pixels are not
scored, and the image's border is no boundary. Source: Kohli, Ladicky, Torr 2009, "Robust higher
order potentials for enforcing label consistency"; DeepLab plots mean IU so (Chen et al. 2015).
"""

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torchmetrics import Metric

from fcnexp import VOID


class TrimapScores(Metric):
    """Confusion matrices of the pixels within some distances of a boundary.

    widths: pixels, in increasing order. matrices: int64 (W, K, K), rows truth; each holds the
    pixels of those before it, too.
    """

    higher_is_better = True
    full_state_update = False
    matrices: Tensor

    def __init__(self, num_classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.num_classes, self.widths = num_classes, widths
        zeros = torch.zeros(len(widths), num_classes, num_classes, dtype=torch.int64)
        self.add_state("matrices", zeros, dist_reduce_fx="sum")

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count one batch: class indices (N, H, W), any integer type; label with VOID."""
        classes = self.num_classes
        for truth, guess in zip(label.cpu().numpy(), prediction.cpu().numpy(), strict=True):
            band = np.searchsorted(self.widths, boundary_distance(truth))  # first that holds it
            near = (band < len(self.widths)) & (truth != VOID)
            cells = (band[near] * classes + truth[near]) * classes + guess[near]
            counts = np.bincount(cells, minlength=self.matrices.numel())
            rings = torch.from_numpy(counts).view(self.matrices.shape)
            self.matrices += rings.cumsum(0).to(self.matrices.device)

    def compute(self) -> Tensor:
        """The matrices."""
        return self.matrices


def boundary_distance(label: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest one of another label, float64 (H, W), in pixels.

    label: (H, W), any integers. Exact, between the pixels' centres, so that a neighbour is at 1;
    infinite where there is one label only.
    """
    distance = np.full(label.shape, np.inf)
    values = np.unique(label)
    if len(values) > 1:
        for value in values:
            inside = label == value
            distance[inside] = distance_transform_edt(inside)[inside]
    return distance
