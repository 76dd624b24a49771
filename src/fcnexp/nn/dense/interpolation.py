"""Linear interpolation of coarse scores to pixels, for cells at any position."""

import torch
from torch import Tensor, nn

from fcnexp.nn.dense.upsampling import Scorer, full_precision, linear_weights
from fcnexp.nn.extents import settle
from fcnexp.nn.geometry import Grid


class Interpolation(nn.Module):
    """Linear interpolation of each pixel's scores between the nearest cells along each axis.

    grid: cell positions, not necessarily aligned with pixels. Pixels beyond the outermost cells
    repeat the scores of those cells.
    """

    mixed_sizes = True

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """Return pixel scores (N, K, *size) from cell scores (N, K, h, w)."""
        scores = settle(self, scores, repeat=True)
        with full_precision(scores):
            scores = scores if scores.dtype == torch.float64 else scores.float()
            rows = self._weights(size[0], scores.shape[-2], scores)
            columns = self._weights(size[1], scores.shape[-1], scores)
            return rows @ (scores @ columns.T)

    def _weights(self, pixels: int, cells: int, like: Tensor) -> Tensor:
        """Weight of each cell in each pixel along one axis, (pixels, cells)."""
        pixel = torch.arange(pixels, device=like.device, dtype=like.dtype)
        places = (pixel - self.grid.origin) / self.grid.step
        return linear_weights(places.clamp(0, cells - 1), cells)


class Bilinear(nn.Module):
    """Bilinear interpolation of coarse scores to the image's pixels.

    Equivalent to a fixed transposed convolution, but cells may lie anywhere.
    """

    mixed_sizes = True

    def __init__(self, num_classes: int, scorer: Scorer) -> None:
        super().__init__()
        self.interpolation = Interpolation(scorer.grid)

    def forward(self, scorer: Scorer, image: Tensor) -> Tensor:
        """Scores (N, K, H, W) of an image (N, C, H, W)."""
        return self.interpolation(scorer(image), (image.shape[-2], image.shape[-1]))
