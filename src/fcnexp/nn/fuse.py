"""Fusion: doubled coarse scores are aligned and summed with the scores of a finer tap."""

import torch
from torch import Tensor, nn

from fcnexp.nn.backbones.base import Tap
from fcnexp.nn.dense.upsampling import MakeUpsampling, Upsampling
from fcnexp.nn.geometry import Grid

FUSIONS = ("sum", "max")


class Skip(nn.Module):
    """Fusion of coarse scores, upsampled by 2, with a 1x1 scoring of a finer tap.

    The crop that aligns them is derived: 5 cells at pool4 and 9 at pool3 in the reference nets.
    Both maps are cropped to the window that they share. Source: sec. 4.2.
    fusion: `sum`, or `max`, which the paper tried and found hard to train.
    scale: constant factor on the tap before it is scored (`fcn8s_atonce`).
    """

    mixed_sizes = True

    def __init__(
        self,
        coarse: Grid,
        tap: Tap,
        num_classes: int,
        upsampling: MakeUpsampling,
        *,
        fusion: str,
        scale: float,
    ) -> None:
        super().__init__()
        self.score = nn.Conv2d(tap.channels, num_classes, 1)
        self.fusion, self.scale = fusion, scale
        self.line_up(
            upsampling(num_classes, coarse, int(coarse.step / tap.grid.step), tap.grid), tap
        )

    def line_up(self, upsampling: Upsampling, tap: Tap) -> None:
        """Set the upsampling from coarse cells to the tap's, and derive the shared window."""
        self.upsampling = upsampling
        # With repeated edges the coarse map covers the whole tap; otherwise the tap is cropped.
        self.whole = self.upsampling.edges == "repeat"
        self.crop = 0 if self.whole else max(0, -self.upsampling.crop)
        self.grid = tap.grid.crop(self.crop)

    def forward(self, coarse: Tensor, tap: Tensor) -> Tensor:
        """Return scores (N, K, h'', w'') on `grid`; coarse (N, K, h, w), tap (N, C, h', w')."""
        fine = self.score(tap if self.scale == 1 else tap * self.scale)
        bottom, right = fine.shape[-2:]
        if not self.whole:
            bottom = torch.sym_min(bottom, self.upsampling.reach(coarse.shape[-2]))
            right = torch.sym_min(right, self.upsampling.reach(coarse.shape[-1]))
        window = fine[..., self.crop : bottom, self.crop : right]
        doubled = self.upsampling(coarse, (self.crop, self.crop), window.shape[-2:])
        return torch.maximum(doubled, window) if self.fusion == "max" else doubled + window
