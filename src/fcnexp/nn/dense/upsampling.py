"""Bilinear upsampling of coarse scores by a transposed convolution, aligned by geometry."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from math import ceil
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.nn.extents import settle
from fcnexp.nn.fast.switches import enabled
from fcnexp.nn.geometry import IMAGE, Grid, bilinear_kernel_size

EDGES = ("zeros", "repeat")


class Scorer(Protocol):
    """Image (N, C, H, W) to coarse scores (N, K, h, w)."""

    @property
    def grid(self) -> Grid:
        """Positions of the score map's cells on the image."""

    def __call__(self, image: Tensor) -> Tensor:
        """Coarse scores of an image."""


class Upsampling(nn.Module):
    """Bilinear upsampling of scores by an integer factor, onto the cells of a finer map.

    A transposed convolution (the reference nets' `upscore` layers); the kernel size follows from
    the grids of both maps. With factor 1 it shifts scores by at most half a cell: cells that fall
    between target cells are averaged.
    edges: values beyond the coarse map. `zeros`: scores fade towards the border, as released;
        `repeat`: border cells are repeated, so scores do not fade.
    learned: train the kernel, dense over classes; it starts as bilinear within each class.
    """

    mixed_sizes = True

    def __init__(
        self,
        num_classes: int,
        coarse: Grid,
        factor: int,
        target: Grid,
        *,
        edges: str,
        learned: bool,
    ) -> None:
        super().__init__()
        self.factor, self.edges, self.learned = factor, edges, learned
        self.kernel_size = bilinear_kernel_size(coarse, factor, target)
        self.grid = coarse.deconv(self.kernel_size, factor)
        self.crop = int(self.grid.offset_to(target))  # cells before the target's first
        kernel = bilinear_kernel(self.kernel_size)
        if learned:
            self.kernel = nn.Parameter(diagonal(kernel, num_classes))
        else:
            plain = kernel.expand(num_classes, 1, -1, -1).clone()
            self.register_buffer("kernel", plain, persistent=False)

    def reach(self, cells: int) -> int:
        """Index one past the last target cell that `cells` upsampled coarse cells cover."""
        return self.factor * (cells - 1) + self.kernel_size - self.crop

    def forward(self, scores: Tensor, first: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Upsample scores (N, K, h, w) to (N, K, *size), starting at target cell `first`."""
        scores = settle(self, scores, repeat=self.edges == "repeat")
        starts, pads = [], []
        for cells, begin, length in zip(scores.shape[-2:], first, size, strict=True):
            lead, trail = self._missing(cells, self.crop + begin, length)
            starts.append(self.crop + begin + lead * self.factor)
            pads.append((lead, trail))
        (top, bottom), (left, right) = pads
        # An exported graph serves every image size, so it must not branch on it.
        if torch.compiler.is_exporting() or any((top, bottom, left, right)):
            scores = self._pad(scores, (left, right, top, bottom))
        with full_precision(scores):
            scores = scores if scores.dtype == torch.float64 else scores.float()
            if self._by_matrices(scores):
                rows = self._weights(scores.shape[-2], starts[0], size[0], scores)
                columns = self._weights(scores.shape[-1], starts[1], size[1], scores)
                return rows @ (scores @ columns.T)
            dense = self._upsample(scores)
        (top, left), (height, width) = starts, size
        return dense[..., top : top + height, left : left + width]

    def _pad(self, scores: Tensor, pads: tuple[int, int, int, int]) -> Tensor:
        """Pad scores by (left, right, top, bottom) cells."""
        if self.edges != "repeat":
            return F.pad(scores, pads)
        if not torch.compiler.is_compiling() or torch.compiler.is_exporting():
            return F.pad(scores, pads, mode="replicate")
        # torch.compile assumes a wrong memory layout for replicate's gradients (torch 2.15).
        for axis, (lead, trail) in ((-1, pads[:2]), (-2, pads[2:])):
            cells = torch.arange(-lead, scores.shape[axis] + trail, device=scores.device)
            scores = scores.index_select(axis, cells.clamp(0, scores.shape[axis] - 1))
        return scores

    def _by_matrices(self, scores: Tensor) -> bool:
        """True if gradients through a fixed kernel are needed: matrices are faster for those."""
        if self.learned or self.kernel_size == 1 or torch.compiler.is_exporting():
            return False
        return scores.requires_grad and enabled("interpolation") and enabled("upsampling")

    def _weights(self, cells: int, start: int, length: int, like: Tensor) -> Tensor:
        """Weight of each coarse cell in each fine cell of one axis's window, (length, cells)."""
        fine = torch.arange(start, start + length, device=like.device, dtype=like.dtype)
        return linear_weights((fine - (self.kernel_size - 1) / 2) / self.factor, cells)

    def _upsample(self, scores: Tensor) -> Tensor:
        if self.kernel_size == 1 and not self.learned:
            return scores  # the two grids coincide
        kernel, groups = self.kernel.to(scores.dtype), 1 if self.learned else scores.shape[1]
        if groups > 1 and not enabled("upsampling"):
            kernel, groups = torch.diag_embed(kernel[:, 0].movedim(0, -1)).permute(2, 3, 0, 1), 1
        return F.conv_transpose2d(scores, kernel, stride=self.factor, groups=groups)

    def _missing(self, cells: int, start: int, length: int) -> tuple[int, int]:
        """Numbers of coarse cells to add before and after so that they cover the whole window."""
        # Closer than this to its ends, the upsampled map sums fewer cells, so it fades.
        fade = self.kernel_size - self.factor if self.edges == "repeat" else 0
        reach = self.factor * (cells - 1) + self.kernel_size - fade
        lead = max(0, ceil((fade - start) / self.factor))
        # Integer ceiling division of a non-negative number: export supports nothing else.
        trail = torch.sym_max(0, start + length - reach + self.factor - 1) // self.factor
        return lead, trail  # type: ignore[return-value]  # an int, or a symbol for one


Net = TypeVar("Net", bound=nn.Module)
MakeUpsampling = Callable[[int, Grid, int, Grid], Upsampling]  # classes, coarse, factor, target


def to_pixels(num_classes: int, scorer: Scorer, *, edges: str, learned: bool) -> Upsampling:
    """Return the upsampling from a scorer's cells to the image's pixels."""
    grid = scorer.grid
    return Upsampling(num_classes, grid, int(grid.step), IMAGE, edges=edges, learned=learned)


def full_precision(scores: Tensor) -> AbstractContextManager:
    """Disable autocast: 8 bits (bfloat16) or 11 (float16) cause ties in smooth score maps."""
    return nullcontext() if scores.is_meta else torch.autocast(scores.device.type, enabled=False)


def channels_last(net: Net) -> Net:
    """Convert a net's weights in place to channels-last, the fastest layout for convolutions."""
    net.to(memory_format=torch.channels_last)
    for module in net.modules():
        if isinstance(module, Upsampling) and not module.learned:
            # DDP copies a single buffer onto itself, which torch rejects for unusual strides.
            kernel: Tensor = module.kernel
            module.kernel = kernel.flatten().view(kernel.shape)  # type: ignore[assignment]  # a buffer
    return net


def bilinear_kernel(size: int) -> Tensor:
    """Bilinear kernel of a transposed convolution, (size, size), with peak 1.

    Source: sec. 3.3; the reference release's `surgery.py` fills the same values.
    """
    factor = (size + 1) // 2
    ramp = 1 - (torch.arange(size) - (size - 1) / 2).abs() / factor
    return torch.outer(ramp, ramp)


def diagonal(kernel: Tensor, num_classes: int) -> Tensor:
    """Return a dense kernel (K, K, k, k) that applies `kernel` (k, k) to each class separately."""
    dense = torch.zeros(num_classes, num_classes, *kernel.shape)
    dense[range(num_classes), range(num_classes)] = kernel
    return dense


def linear_weights(places: Tensor, cells: int) -> Tensor:
    """Linear interpolation weights of cells 0, 1 ... at fractional positions, (places, cells)."""
    cell = torch.arange(cells, device=places.device, dtype=places.dtype)
    return (1 - (places[:, None] - cell).abs()).clamp(min=0)
