"""Fusion: scores of a finer tap are added to the coarse scores, doubled and lined up."""

from torch import Tensor, nn

from fcnexp.nn.backbones.base import Tap
from fcnexp.nn.dense import Upsampling
from fcnexp.nn.geometry import Grid


class SkipSum(nn.Module):
    """Sum of twice upsampled coarse scores and a 1x1 scoring of a finer tap.

    The crop between the two is derived: 5 cells at pool4 and 9 at pool3 of the reference nets.
    Both maps are cut to the window that they share. Source: sec. 4.2.
    scale: constant by which the tap is multiplied before it is scored (`fcn8s_atonce`).
    """

    def __init__(
        self, coarse: Grid, tap: Tap, num_classes: int, upsampling: Upsampling, scale: float
    ) -> None:
        super().__init__()
        self.score = nn.Conv2d(tap.channels, num_classes, 1)
        self.scale = scale
        self.upsampling = upsampling(num_classes, coarse, 2, tap.grid)
        # With repeated edges the coarse map reaches over the whole tap; else the tap is cropped.
        self.whole = self.upsampling.edges == "repeat"
        self.crop = 0 if self.whole else max(0, -self.upsampling.crop)
        self.grid = tap.grid.crop(self.crop)

    def forward(self, coarse: Tensor, tap: Tensor) -> Tensor:
        """(N, K, h, w) and (N, C, h', w') to (N, K, h'', w'') on `grid`."""
        fine = self.score(tap if self.scale == 1 else tap * self.scale)
        bottom, right = fine.shape[-2:]
        if not self.whole:
            bottom = min(bottom, self.upsampling.reach(coarse.shape[-2]))
            right = min(right, self.upsampling.reach(coarse.shape[-1]))
        window = fine[..., self.crop : bottom, self.crop : right]
        doubled = self.upsampling(coarse, (self.crop, self.crop), window.shape[-2:])
        return doubled + window
