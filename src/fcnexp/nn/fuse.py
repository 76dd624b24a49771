"""Fusion: scores of a finer tap join the coarse scores, doubled and lined up."""

import torch
from torch import Tensor, nn

from fcnexp.nn.backbones.base import Tap
from fcnexp.nn.dense.upsampling import MakeUpsampling, Upsampling
from fcnexp.nn.geometry import Grid

FUSIONS = ("sum", "max")


class Skip(nn.Module):
    """Fusion of twice upsampled coarse scores and a 1x1 scoring of a finer tap.

    The crop between the two is derived: 5 cells at pool4 and 9 at pool3 of the reference nets.
    Both maps are cut to the window that they share. Source: sec. 4.2.
    fusion: `sum`, or `max`, which the paper tried and found hard to learn.
    scale: constant by which the tap is multiplied before it is scored (`fcn8s_atonce`).
    """

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
        """Take this upsampling from the coarse cells to the tap's, and find the shared window."""
        self.upsampling = upsampling
        # With repeated edges the coarse map reaches over the whole tap; else the tap is cropped.
        self.whole = self.upsampling.edges == "repeat"
        self.crop = 0 if self.whole else max(0, -self.upsampling.crop)
        self.grid = tap.grid.crop(self.crop)

    def forward(self, coarse: Tensor, tap: Tensor) -> Tensor:
        """(N, K, h, w) and (N, C, h', w') to (N, K, h'', w'') on `grid`."""
        fine = self.score(tap if self.scale == 1 else tap * self.scale)
        bottom, right = fine.shape[-2:]
        if not self.whole:
            bottom = torch.sym_min(bottom, self.upsampling.reach(coarse.shape[-2]))
            right = torch.sym_min(right, self.upsampling.reach(coarse.shape[-1]))
        window = fine[..., self.crop : bottom, self.crop : right]
        doubled = self.upsampling(coarse, (self.crop, self.crop), window.shape[-2:])
        return torch.maximum(doubled, window) if self.fusion == "max" else doubled + window
