"""From coarse scores to one score per pixel: bilinear upsampling, lined up by geometry."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from math import ceil
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.errors import ConfigError
from fcnexp.nn.geometry import IMAGE, Grid, bilinear_kernel_size

EDGES = ("zeros", "repeat")


class Scorer(Protocol):
    """Image (N, C, H, W) to coarse scores (N, K, h, w), whose cells lie on `grid`."""

    grid: Grid

    def __call__(self, image: Tensor) -> Tensor:
        """Coarse scores of an image."""
        ...


def bilinear_kernel(size: int) -> Tensor:
    """Bilinear interpolation as a transposed convolution's kernel, (size, size), peak 1.

    Source: sec. 3.3; the reference release's `surgery.py` fills the same values.
    """
    factor = (size + 1) // 2
    ramp = 1 - (torch.arange(size) - (size - 1) / 2).abs() / factor
    return torch.outer(ramp, ramp)


class FixedUpsampling(nn.Module):
    """Bilinear upsampling of scores by a whole factor, onto the cells of a finer map.

    A transposed convolution whose kernel is not trained (the reference nets' `upscore` layers);
    the kernel's size follows from where the cells of both maps lie.
    edges: what lies beyond the coarse map. `zeros`: nothing, so that scores fade towards the
        border, as released; `repeat`: its border cells again, so that they do not.
    """

    def __init__(
        self, num_classes: int, coarse: Grid, stride: int, target: Grid, *, edges: str
    ) -> None:
        super().__init__()
        self.stride, self.edges = stride, edges
        self.kernel_size = bilinear_kernel_size(coarse, stride, target)
        self.grid = coarse.deconv(self.kernel_size, stride)
        self.crop = int(self.grid.offset_to(target))  # cells before the target's first
        kernel = bilinear_kernel(self.kernel_size).expand(num_classes, 1, -1, -1).clone()
        self.register_buffer("kernel", kernel, persistent=False)

    def reach(self, cells: int) -> int:
        """One past the last target cell that `cells` coarse cells touch when upsampled."""
        return self.stride * (cells - 1) + self.kernel_size - self.crop

    def forward(self, scores: Tensor, first: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Scores on the target's cells from `first` (row, column) on.

        scores (N, K, h, w); returns (N, K, *size).
        """
        starts, pads = [], []
        for cells, begin, length in zip(scores.shape[-2:], first, size, strict=True):
            lead, trail = self._missing(cells, self.crop + begin, length)
            starts.append(self.crop + begin + lead * self.stride)
            pads.append((lead, trail))
        (top, bottom), (left, right) = pads
        if any((top, bottom, left, right)):
            mode = "replicate" if self.edges == "repeat" else "constant"
            scores = F.pad(scores, (left, right, top, bottom), mode=mode)
        kernel: Tensor = self.kernel  # type: ignore[assignment]  # a buffer
        with full_precision(scores):
            scores = scores if scores.dtype == torch.float64 else scores.float()
            dense = F.conv_transpose2d(
                scores, kernel.to(scores.dtype), stride=self.stride, groups=scores.shape[1]
            )
        (top, left), (height, width) = starts, size
        return dense[..., top : top + height, left : left + width]

    def _missing(self, cells: int, start: int, length: int) -> tuple[int, int]:
        """Coarse cells to add before and behind so that the window is (fully) reached."""
        # Closer to its ends than this the upsampled map is a sum of fewer cells: it fades.
        fade = self.kernel_size - self.stride if self.edges == "repeat" else 0
        reach = self.stride * (cells - 1) + self.kernel_size - fade
        lead = max(0, ceil((fade - start) / self.stride))
        trail = max(0, ceil((start + length - reach) / self.stride))
        return lead, trail


Upsampling = Callable[[int, Grid, int, Grid], FixedUpsampling]  # classes, coarse, stride, target


class Deconvolution(nn.Module):
    """Upsampling of coarse scores to the image in one step, cropped to it.

    scorer_grid: where the scorer's cells lie; the crop is derived from it: 19 pixels for FCN-32s,
    27 for FCN-16s, 31 for FCN-8s, 18 for AlexNet.
    """

    def __init__(self, num_classes: int, scorer_grid: Grid, *, edges: str) -> None:
        super().__init__()
        stride = int(scorer_grid.step)
        self.upsampling = FixedUpsampling(num_classes, scorer_grid, stride, IMAGE, edges=edges)

    def forward(self, scorer: Scorer, image: Tensor) -> Tensor:
        """Scores (N, K, H, W) of an image (N, C, H, W)."""
        height, width = image.shape[-2:]
        return self.upsampling(scorer(image), (0, 0), (height, width))


class LearnedDeconvolution(nn.Module):
    """Upsampling by one transposed convolution that is trained, dense over classes, with bias.

    It starts bilinear on the diagonal over classes. kernel, pad: the D2L exercise's 64 and 16,
    for which the output begins at the image's first pixel by position in the array; by where the
    cells lie it is half a cell (15.5 pixels) early, which training has to make up for.
    Source: D2L, chapter "Fully Convolutional Networks" (PAPER.yaml, d2l_fcn_resnet18).
    """

    def __init__(self, num_classes: int, scorer_grid: Grid, *, kernel: int, pad: int) -> None:
        super().__init__()
        stride = int(scorer_grid.step)
        if kernel - stride != 2 * pad:
            raise ValueError(
                f"kernel={kernel}, pad={pad}: at stride {stride} the output is a whole multiple of "
                f"the map where kernel - 2 * pad = {stride}; say kernel={2 * stride} "
                f"pad={stride // 2}"
            )
        self.upscore = nn.ConvTranspose2d(num_classes, num_classes, kernel, stride, pad)
        with torch.no_grad():
            self.upscore.weight.zero_()
            self.upscore.weight[range(num_classes), range(num_classes)] = bilinear_kernel(kernel)
            assert self.upscore.bias is not None
            self.upscore.bias.zero_()

    def forward(self, scorer: Scorer, image: Tensor) -> Tensor:
        """Scores (N, K, H, W) of an image (N, C, H, W)."""
        height, width = image.shape[-2:]
        scores = scorer(image)
        with full_precision(scores):
            dense = self.upscore(scores if scores.dtype == torch.float64 else scores.float())
        if dense.shape[-2] < height or dense.shape[-1] < width:
            raise ConfigError(
                f"dense=deconv_d2l gives {tuple(dense.shape[-2:])} pixels for an image of "
                f"{(height, width)}: it is for backbones that pad each layer, such as resnet18"
            )
        return dense[..., :height, :width]


def full_precision(scores: Tensor) -> AbstractContextManager:
    """No bfloat16 inside: its 8 bits make ties between classes where scores vary smoothly."""
    return nullcontext() if scores.is_meta else torch.autocast(scores.device.type, enabled=False)
