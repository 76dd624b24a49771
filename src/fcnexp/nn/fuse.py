"""Fusion: scores of a finer tap are added to the coarse scores, doubled and lined up."""

from torch import Tensor, nn

from fcnexp.nn.backbones.base import Tap
from fcnexp.nn.dense import Upsampling
from fcnexp.nn.geometry import Grid


class SkipSum(nn.Module):
    """Sum of twice upsampled coarse scores and a 1x1 scoring of a finer tap.

    The crop between the two is derived: 5 cells at pool4 and 9 at pool3 of the reference nets.
    Both maps are cut to the window that they share. Source: sec. 4.2.
    """

    def __init__(self, coarse: Grid, tap: Tap, num_classes: int, upsampling: Upsampling) -> None:
        super().__init__()
        self.score = nn.Conv2d(tap.channels, num_classes, 1)
        self.upsampling = upsampling(num_classes, coarse, 2, tap.grid)
        self.crop = max(0, -self.upsampling.crop)  # cells of the tap before the shared window
        if self.upsampling.edges == "repeat":
            self.crop = 0  # the coarse map then reaches over the whole tap
        self.grid = tap.grid.crop(self.crop)

    def forward(self, coarse: Tensor, tap: Tensor) -> Tensor:
        """(N, K, h, w) and (N, C, h', w') to (N, K, h'', w'') on `grid`."""
        first, size = [], []
        for cells, fine in zip(coarse.shape[-2:], tap.shape[-2:], strict=True):
            end = fine
            if self.upsampling.edges == "zeros":
                end = min(fine, self.upsampling.span(cells)[1])
            first.append(self.crop)
            size.append(end - self.crop)
        (top, left), (height, width) = first, size
        doubled = self.upsampling(coarse, (top, left), (height, width))
        return doubled + self.score(tap[..., top : top + height, left : left + width])
