"""Max pooling as Caffe does it, at any density, and the way back by the recorded positions."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Switches(NamedTuple):
    """Where a pooling found its maxima, for `unpool`.

    positions: int64 (N, C, h, w), each the index of a cell of the pooling's input, row by row.
    size: height and width of that input.
    """

    positions: Tensor
    size: tuple[int, int]


class MaxPool(nn.Module):
    """Maximum over windows; by default the last one may hang over the edge, as in Caffe.

    (N, C, H, W) to (N, C, h, w), h = max(1, floor((H + 2 pad + hang - kernel) / stride) + 1). A map
    smaller than the window, which Caffe refuses, gives one cell.
    hang: cells by which the last window may hang over the edge: stride - 1 (None), which rounds up
        as Caffe does, or 0, which rounds down as torch does.
    dilation: cells from one of a window's inputs to the next, above 1 in a rarefied net.
    """

    def __init__(self, kernel: int, stride: int, pad: int = 0, *, hang: int | None = None) -> None:
        super().__init__()
        self.kernel, self.stride, self.pad = kernel, stride, pad
        self.hang = stride - 1 if hang is None else hang
        self.dilation = 1

    @property
    def window(self) -> int:
        """Cells from the first to the last of a window."""
        return (self.kernel - 1) * self.dilation + 1

    def finds(self, size: tuple[int, int]) -> bool:
        """Whether a map of this size holds a window, the overhang included."""
        return min(size) + 2 * self.pad + self.hang >= self.window

    def forward(self, maps: Tensor, switches: list[Switches] | None = None) -> Tensor:
        """Maxima of maps; where they were is appended to `switches`, if that is given."""
        size = (maps.shape[-2], maps.shape[-1])
        if switches is not None:
            pooled, positions = largest(maps, self.kernel, self.stride, self.pad)
            switches.append(Switches(positions, size))
            return pooled
        # torch's own is the fast way, but finds no window on a map that is too small, and refuses
        # the padding of a window that is spread.
        round_up = self.hang == self.stride - 1
        # A graph has no branches: an exported one is for maps that hold a window. Nor does it round
        # up, which torch does with a condition that ties it to the sizes that it was traced at.
        exporting = torch.compiler.is_exporting()
        found = exporting or self.finds(size)
        rounds = self.hang == 0 or (round_up and not exporting)
        if found and self.dilation == 1 and rounds:
            return F.max_pool2d(maps, self.kernel, self.stride, self.pad, ceil_mode=round_up)
        if found and self.stride == 1 and not (maps.requires_grad or exporting):
            return self._by_axes(maps)
        behind = [self.pad + self.hang] * 2
        if not found:
            behind = [self.pad + max(self.hang, self.window - 2 * self.pad - n) for n in size]
        maps = F.pad(maps, (self.pad, behind[1], self.pad, behind[0]), value=float("-inf"))
        return F.max_pool2d(maps, self.kernel, self.stride, dilation=self.dilation)

    def _by_axes(self, maps: Tensor) -> Tensor:
        """Maxima at stride 1, along the rows and then the columns.

        Cheaper than torch's, which looks at each window whole and notes positions. Only where no
        gradient is asked for: of equal values torch lets the first have it.
        """
        for axis in (-2, -1):
            cells = maps.shape[axis]
            out = cells + 2 * self.pad + self.hang - self.window + 1
            best = maps.narrow(axis, 0, out).clone()
            for shift in range(-self.pad, self.window - self.pad, self.dilation):
                first, last = max(0, -shift), min(out, cells - shift)
                if shift == 0 or last <= first:
                    continue
                part = best.narrow(axis, first, last - first)
                torch.maximum(part, maps.narrow(axis, first + shift, last - first), out=part)
            maps = best
        return maps


def largest(maps: Tensor, kernel: int, stride: int, pad: int) -> tuple[Tensor, Tensor]:
    """Maxima of windows that may hang over the edge, and their positions, as in `Switches`.

    maps (N, C, H, W); both (N, C, h, w). Of equal values the first counts, row by row.
    torch's own positions export to ONNX for one batch size only; slices do for any.
    """
    height, width = maps.shape[-2:]
    # Rounded up without dividing a negative number, which ONNX rounds towards 0, unlike Python.
    reach = 2 * pad - kernel + stride - 1
    h, w = (max(0, side + reach) // stride + 1 for side in (height, width))
    behind = [(n - 1) * stride + kernel - pad - side for n, side in ((w, width), (h, height))]
    padded = F.pad(maps, (pad, behind[0], pad, behind[1]), value=float("-inf"))
    rows = torch.arange(h, device=maps.device)[:, None] * stride - pad
    columns = torch.arange(w, device=maps.device) * stride - pad
    values, places = [], []
    for i in range(kernel):
        for j in range(kernel):
            window = padded[..., i : i + (h - 1) * stride + 1 : stride, :]
            values.append(window[..., j : j + (w - 1) * stride + 1 : stride])
            places.append((rows + i) * width + columns + j)
    pooled, first = torch.stack(values, dim=-1).max(dim=-1)
    place = torch.stack(places, dim=-1).expand(*pooled.shape, -1)
    return pooled, place.gather(-1, first[..., None])[..., 0]


class Unpool(nn.Module):
    """Undoes a max pooling: each value goes back to where it was found, all else is 0.

    Where windows overlap and two of them found the same cell, their values add up.
    Source: Noh et al. 2015, sec. 3.1.
    """

    def __init__(self, pool: MaxPool) -> None:
        super().__init__()
        self.kernel, self.stride, self.pad = pool.kernel, pool.stride, pool.pad

    def forward(self, maps: Tensor, switches: Switches) -> Tensor:
        """(N, C, h, w) to (N, C, *switches.size)."""
        height, width = switches.size
        flat = maps.new_zeros(*maps.shape[:2], height * width)
        flat = flat.scatter_add(2, switches.positions.flatten(2), maps.flatten(2))
        return flat.unflatten(2, (height, width))
