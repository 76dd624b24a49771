"""Scores in a band around the boundaries between classes, the trimap.

A pixel's distance is the distance to the nearest pixel with a different ground-truth label,
including void: VOC labels have a rim of void around objects, and the band starts on both sides of
it. Void pixels are not scored, and the image's border is not a boundary. Source: Kohli, Ladicky,
Torr 2009, "Robust higher order potentials for enforcing label consistency"; Chen et al. 2015
(DeepLab) plot mean IU over the band's width.
"""

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torchmetrics import Metric

from fcnexp import void_of
from fcnexp.task.maps import check_same


class TrimapScores(Metric):
    """Confusion matrices of the pixels within several distances of a boundary.

    widths: of the W bands, in pixels, increasing; others raise ValueError. matrices: int64
    (W, K, K), rows ground truth; each includes the pixels of the narrower bands.
    """

    higher_is_better = True
    full_state_update = False
    matrices: Tensor

    def __init__(self, num_classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        if not widths or any(b <= a for a, b in zip((0, *widths), widths, strict=False)):
            raise ValueError(f"widths={widths}: must be above 0 and increasing, such as (1, 3, 5)")
        self.num_classes, self.widths = num_classes, widths
        zeros = torch.zeros(len(widths), num_classes, num_classes, dtype=torch.int64)
        self.add_state("matrices", zeros, dist_reduce_fx="sum")
        self.latest: list[dict[int, Tensor]] = []  # of each image in the last batch, by width

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count one batch: class indices (N, H, W), any integer type; label with void.

        Raises ValueError if one is not of integers, if their shapes differ, or if a value that is
        counted is not a class.
        """
        check_same(prediction, label)
        classes, self.latest = self.num_classes, []
        for truth, guess in zip(label.cpu().numpy(), prediction.cpu().numpy(), strict=True):
            labelled = truth != void_of(truth)
            _refuse_outside("label", truth[labelled], classes)
            _refuse_outside("prediction", guess[labelled], classes)
            # Index of the narrowest band that contains each pixel.
            band = np.searchsorted(self.widths, boundary_distance(truth))
            near = (band < len(self.widths)) & labelled
            cells = (band[near] * classes + truth[near]) * classes + guess[near]
            counts = np.bincount(cells, minlength=self.matrices.numel())
            rings = torch.from_numpy(counts).view(self.matrices.shape)
            bands = rings.cumsum(0)
            self.matrices += bands.to(self.matrices.device)
            self.latest.append(dict(zip(self.widths, bands, strict=True)))

    def compute(self) -> Tensor:
        """Return the matrices."""
        return self.matrices


def _refuse_outside(what: str, values: np.ndarray, classes: int) -> None:
    """Raise ValueError if a value is not a class: it would be counted in another band's cells."""
    if values.size and not 0 <= values.min() <= values.max() < classes:
        raise ValueError(f"{what} {values.min()} to {values.max()} is outside 0..{classes - 1}")


def boundary_distance(label: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest one with another label, float64 (H, W), in pixels.

    label: (H, W), any integers. Distances are exact, between pixel centres, so that adjacent pixels
    are 1 apart; infinite if the map has a single label.
    """
    distance = np.full(label.shape, np.inf)
    values = np.unique(label)
    if len(values) > 1:
        for value in values:
            inside = label == value
            distance[inside] = distance_transform_edt(inside)[inside]
    return distance
