"""Max pooling with Caffe's rounding, at any dilation, and unpooling by recorded positions."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.nn.extents import zero_beyond


class Switches(NamedTuple):
    """Positions of the maxima that a pooling found, for `Unpool`.

    positions: int64 (N, C, h, w), flat row-major indices into the pooling's input.
    size: height and width of that input.
    """

    positions: Tensor
    size: tuple[int, int]


class MaxPool(nn.Module):
    """Max pooling whose output size rounds up by default, as in Caffe.

    (N, C, H, W) to (N, C, h, w), h = max(1, floor((H + 2 pad + hang - kernel) / stride) + 1). A map
    smaller than the window, which Caffe refuses, gives one cell.
    hang: cells by which the last window may extend past the edge: stride - 1 (None), which rounds
        up as in Caffe, or 0, which rounds down as in PyTorch.
    dilation: distance between a window's inputs in cells, above 1 in a rarefied net.
    """

    mixed_sizes = True

    def __init__(self, kernel: int, stride: int, pad: int = 0, *, hang: int | None = None) -> None:
        super().__init__()
        self.kernel, self.stride, self.pad = kernel, stride, pad
        self.hang = stride - 1 if hang is None else hang
        self.dilation = 1

    @property
    def window(self) -> int:
        """Extent of a window in cells, dilation included."""
        return (self.kernel - 1) * self.dilation + 1

    def finds(self, size: tuple[int, int]) -> bool:
        """True if at least one window fits a map of this size, overhang included."""
        return min(size) + 2 * self.pad + self.hang >= self.window

    def forward(self, maps: Tensor, switches: list[Switches] | None = None) -> Tensor:
        """Return the maxima; their positions are appended to `switches` if it is given."""
        return zero_beyond(self, self._pool(maps, switches))

    def _pool(self, maps: Tensor, switches: list[Switches] | None) -> Tensor:
        size = (maps.shape[-2], maps.shape[-1])
        if switches is not None:
            pooled, positions = largest(maps, self.kernel, self.stride, self.pad)
            switches.append(Switches(positions, size))
            return pooled
        # F.max_pool2d is fastest, but refuses maps smaller than the window, and the padding that a
        # dilated window needs.
        round_up = self.hang == self.stride - 1
        # An exported graph has no branches, so it assumes that a window fits. It also avoids
        # ceil_mode, whose size check would tie the graph to the sizes it was traced at.
        exporting = torch.compiler.is_exporting()
        found = exporting or self.finds(size)
        rounds = self.hang == 0 or (round_up and not exporting)
        if found and self.dilation == 1 and rounds:
            return F.max_pool2d(maps, self.kernel, self.stride, self.pad, ceil_mode=round_up)
        if found and self.stride == 1 and not (maps.requires_grad or exporting):
            return self._by_axes(maps)
        bottom = right = self.pad + self.hang
        if not found:
            spare = (max(self.hang, self.window - 2 * self.pad - side) for side in size)
            bottom, right = (self.pad + cells for cells in spare)
        maps = F.pad(maps, (self.pad, right, self.pad, bottom), value=float("-inf"))
        return F.max_pool2d(maps, self.kernel, self.stride, dilation=self.dilation)

    def _by_axes(self, maps: Tensor) -> Tensor:
        """Return the maxima at stride 1, computed along columns and then along rows.

        Cheaper than F.max_pool2d, which scans each whole window and records positions. Only for
        maps without gradients: among equal values PyTorch passes the gradient to the first.
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
    """Return the maxima of windows, rounded up as in Caffe, and their positions (see `Switches`).

    maps (N, C, H, W); both results (N, C, h, w). Ties go to the first value in row-major order.
    F.max_pool2d's positions export to ONNX for one batch size only; slices work for any.
    """
    height, width = maps.shape[-2:]
    # Rounds up without dividing a negative number, which ONNX rounds towards 0, unlike Python.
    reach = 2 * pad - kernel + stride - 1
    h, w = (max(0, side + reach) // stride + 1 for side in (height, width))
    bottom, right = ((n - 1) * stride + kernel - pad - s for n, s in ((h, height), (w, width)))
    padded = F.pad(maps, (pad, right, pad, bottom), value=float("-inf"))
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
    """Inverse of a max pooling: each value returns to its recorded position, the rest is 0.

    If overlapping windows found the same cell, their values add up.
    Source: Noh et al. 2015, sec. 3.1.
    """

    def __init__(self, pool: MaxPool) -> None:
        super().__init__()
        self.kernel, self.stride, self.pad = pool.kernel, pool.stride, pool.pad

    def forward(self, maps: Tensor, switches: Switches) -> Tensor:
        """Return unpooled maps (N, C, *switches.size) of maps (N, C, h, w)."""
        height, width = switches.size
        flat = maps.new_zeros(*maps.shape[:2], height * width)
        flat = flat.scatter_add(2, switches.positions.flatten(2), maps.flatten(2))
        return flat.unflatten(2, (height, width))
