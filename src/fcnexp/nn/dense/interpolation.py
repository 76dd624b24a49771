"""From coarse scores to the image by interpolation between cells, wherever these lie."""

import torch
from torch import Tensor, nn

from fcnexp.nn.dense.upsampling import Scorer, full_precision, linear_shares
from fcnexp.nn.geometry import Grid


class Interpolation(nn.Module):
    """Scores of each pixel by linear interpolation between the nearest cells along each axis.

    grid: where the cells lie, anywhere. Beyond the outermost ones their scores are repeated.
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """Scores of pixels (N, K, *size) of those of cells (N, K, h, w)."""
        with full_precision(scores):
            scores = scores if scores.dtype == torch.float64 else scores.float()
            rows = self._shares(size[0], scores.shape[-2], scores)
            columns = self._shares(size[1], scores.shape[-1], scores)
            return rows @ (scores @ columns.T)

    def _shares(self, pixels: int, cells: int, like: Tensor) -> Tensor:
        """Share of each cell in each pixel along one axis, (pixels, cells)."""
        places = torch.arange(pixels, device=like.device, dtype=like.dtype)
        return linear_shares(
            ((places - self.grid.origin) / self.grid.step).clamp(0, cells - 1), cells
        )


class Bilinear(nn.Module):
    """Bilinear interpolation of coarse scores, straight from where their cells lie.

    It computes what a fixed transposed convolution does, for cells at any place.
    """

    def __init__(self, num_classes: int, scorer: Scorer) -> None:
        super().__init__()
        self.interpolation = Interpolation(scorer.grid)

    def forward(self, scorer: Scorer, image: Tensor) -> Tensor:
        """Scores (N, K, H, W) of an image (N, C, H, W)."""
        return self.interpolation(scorer(image), (image.shape[-2], image.shape[-1]))
