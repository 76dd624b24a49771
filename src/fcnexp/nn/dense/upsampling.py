"""Bilinear upsampling of coarse scores by a transposed convolution, aligned by geometry."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from math import ceil
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.nn.fast.switches import taken
from fcnexp.nn.geometry import IMAGE, Grid, bilinear_kernel_size

EDGES = ("zeros", "repeat")


class Scorer(Protocol):
    """Image (N, C, H, W) to coarse scores (N, K, h, w)."""

    @property
    def grid(self) -> Grid:
        """Where the cells of its scores lie."""
        ...

    def __call__(self, image: Tensor) -> Tensor:
        """Coarse scores of an image."""
        ...


class Upsampling(nn.Module):
    """Bilinear upsampling of scores by a whole factor, onto the cells of a finer map.

    A transposed convolution (the reference nets' `upscore` layers); the kernel's size follows from
    where the cells of both maps lie. From a map that is no finer, factor 1, it moves scores by
    half a cell at most: where cells lie between the target's they are averaged.
    edges: what lies beyond the coarse map. `zeros`: nothing, so that scores fade towards the
        border, as released; `repeat`: its border cells again, so that they do not.
    learned: the kernel is trained, dense over classes, starting bilinear on the diagonal.
    """

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
        """One past the last target cell that `cells` coarse cells touch when upsampled."""
        return self.factor * (cells - 1) + self.kernel_size - self.crop

    def forward(self, scores: Tensor, first: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Scores on the target's cells from `first` (row, column) on.

        scores (N, K, h, w); returns (N, K, *size).
        """
        starts, pads = [], []
        for cells, begin, length in zip(scores.shape[-2:], first, size, strict=True):
            lead, trail = self._missing(cells, self.crop + begin, length)
            starts.append(self.crop + begin + lead * self.factor)
            pads.append((lead, trail))
        (top, bottom), (left, right) = pads
        # An exported graph is for all sizes, and has no branches.
        if torch.compiler.is_exporting() or any((top, bottom, left, right)):
            scores = self._pad(scores, (left, right, top, bottom))
        with full_precision(scores):
            scores = scores if scores.dtype == torch.float64 else scores.float()
            if self._by_matrices(scores):
                rows = self._shares(scores.shape[-2], starts[0], size[0], scores)
                columns = self._shares(scores.shape[-1], starts[1], size[1], scores)
                return rows @ (scores @ columns.T)
            dense = self._upsample(scores)
        (top, left), (height, width) = starts, size
        return dense[..., top : top + height, left : left + width]

    def _pad(self, scores: Tensor, pads: tuple[int, int, int, int]) -> Tensor:
        """Scores with more cells left, right, above and below."""
        if self.edges != "repeat":
            return F.pad(scores, pads)
        if not torch.compiler.is_compiling() or torch.compiler.is_exporting():
            return F.pad(scores, pads, mode="replicate")
        # Its gradients are in another order in memory than torch.compile believes (torch 2.15).
        for axis, (lead, trail) in ((-1, pads[:2]), (-2, pads[2:])):
            cells = torch.arange(-lead, scores.shape[axis] + trail, device=scores.device)
            scores = scores.index_select(axis, cells.clamp(0, scores.shape[axis] - 1))
        return scores

    def _by_matrices(self, scores: Tensor) -> bool:
        """Whether a fixed kernel's gradients are wanted, for which a convolution takes longer."""
        if self.learned or self.kernel_size == 1 or torch.compiler.is_exporting():
            return False
        return scores.requires_grad and taken("interpolation") and taken("upsampling")

    def _shares(self, cells: int, start: int, length: int, like: Tensor) -> Tensor:
        """Share of each coarse cell in each cell of a window along one axis, (length, cells)."""
        fine = torch.arange(start, start + length, device=like.device, dtype=like.dtype)
        return linear_shares((fine - (self.kernel_size - 1) / 2) / self.factor, cells)

    def _upsample(self, scores: Tensor) -> Tensor:
        if self.kernel_size == 1 and not self.learned:
            return scores  # cells lie on the target's
        kernel, groups = self.kernel.to(scores.dtype), 1 if self.learned else scores.shape[1]
        if groups > 1 and not taken("upsampling"):
            kernel, groups = torch.diag_embed(kernel[:, 0].movedim(0, -1)).permute(2, 3, 0, 1), 1
        return F.conv_transpose2d(scores, kernel, stride=self.factor, groups=groups)

    def _missing(self, cells: int, start: int, length: int) -> tuple[int, int]:
        """Coarse cells to add before and behind so that the window is (fully) reached."""
        # Closer to its ends than this the upsampled map is a sum of fewer cells: it fades.
        fade = self.kernel_size - self.factor if self.edges == "repeat" else 0
        reach = self.factor * (cells - 1) + self.kernel_size - fade
        lead = max(0, ceil((fade - start) / self.factor))
        # Rounded up in whole numbers: an exported graph knows no others, nor negative ones divided.
        trail = torch.sym_max(0, start + length - reach + self.factor - 1) // self.factor
        return lead, trail  # type: ignore[return-value]  # an int, or a symbol for one


Net = TypeVar("Net", bound=nn.Module)
MakeUpsampling = Callable[[int, Grid, int, Grid], Upsampling]  # classes, coarse, factor, target


def to_pixels(num_classes: int, scorer: Scorer, *, edges: str, learned: bool) -> Upsampling:
    """Upsampling from a scorer's cells to the image's pixels."""
    grid = scorer.grid
    return Upsampling(num_classes, grid, int(grid.step), IMAGE, edges=edges, learned=learned)


def full_precision(scores: Tensor) -> AbstractContextManager:
    """No bfloat16 inside: its 8 bits make ties between classes where scores vary smoothly."""
    return nullcontext() if scores.is_meta else torch.autocast(scores.device.type, enabled=False)


def channels_last(net: Net) -> Net:
    """A net with its weights, in place, in the order in which convolutions are fastest."""
    net.to(memory_format=torch.channels_last)
    for module in net.modules():
        if isinstance(module, Upsampling) and not module.learned:
            # DDP copies a lone buffer onto itself, which torch refuses for strides of other form.
            kernel: Tensor = module.kernel
            module.kernel = kernel.flatten().view(kernel.shape)  # type: ignore[assignment]  # a buffer
    return net


def bilinear_kernel(size: int) -> Tensor:
    """Bilinear interpolation as a transposed convolution's kernel, (size, size), peak 1.

    Source: sec. 3.3; the reference release's `surgery.py` fills the same values.
    """
    factor = (size + 1) // 2
    ramp = 1 - (torch.arange(size) - (size - 1) / 2).abs() / factor
    return torch.outer(ramp, ramp)


def diagonal(kernel: Tensor, num_classes: int) -> Tensor:
    """A kernel (k, k) that each class has for itself, dense over classes: (K, K, k, k)."""
    dense = torch.zeros(num_classes, num_classes, *kernel.shape)
    dense[range(num_classes), range(num_classes)] = kernel
    return dense


def linear_shares(places: Tensor, cells: int) -> Tensor:
    """Shares of cells 0, 1 ... in what lies at these places between them, (places, cells)."""
    cell = torch.arange(cells, device=places.device, dtype=places.dtype)
    return (1 - (places[:, None] - cell).abs()).clamp(min=0)
