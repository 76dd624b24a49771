"""Cutting a picture into windows so that every pixel gets the scores that the whole would give it.

A window that begins at a multiple of the net's stride has its cells where the whole picture's are,
roundings and paddings included. Where a window ends inside the picture, the pixels whose scores
depend on what lies beyond are dropped; where it ends with the picture, none are. So kept scores are
the whole picture's, but for rounding.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from math import ceil, floor, lcm
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fcnexp.nn.inspection.feature_map import Map
from fcnexp.nn.inspection.trace import trace
from fcnexp.nn.streams import Network

OURS = {"fcnexp", "torch", "torchvision"}  # whose parts the tracing of maps knows
LARGE = 2048  # pixels of a side at which maps have grown evenly for long, if they ever do
NEAR = 1e-9  # of the range of scores: by less, float64's rounding sets two ways of adding apart


class Piece(NamedTuple):
    """A window of a picture along one axis, [begin, end), and what it scores, [first, last)."""

    begin: int
    end: int
    first: int
    last: int

    @property
    def inner(self) -> slice:
        """What it scores, counted from where it begins."""
        return slice(self.first - self.begin, self.last - self.begin)


@dataclass(frozen=True)
class Tiling:
    """Where windows may lie. Plain values, in pixels, alike along both axes.

    stride: windows begin at multiples of it, since all maps of the net do.
    before, after: how far before and behind a pixel what its scores depend on may lie.
    least: length of a window, a multiple of stride, from which maps grow evenly and a pixel is
        kept; a picture that is no longer is not cut.
    """

    stride: int
    before: int
    after: int
    least: int

    def pieces(self, length: int, window: int) -> list[Piece]:
        """Windows that together score an axis of this length, none longer than `window`.

        window: at least `least`, else ValueError. Of several they are about equally long.
        """
        if length <= window:
            return [Piece(0, length, 0, length)]
        if window < self.least:
            raise ValueError(f"window={window}: this net's windows have {self.least} pixels")
        window -= window % self.stride
        found = self._cut(length, window)
        while window > self.least:  # as few windows, each as short as can be
            shorter = self._cut(length, window - self.stride)
            if len(shorter) > len(found):
                break
            found, window = shorter, window - self.stride
        return found

    def _cut(self, length: int, window: int) -> list[Piece]:
        found: list[Piece] = []
        first = 0
        while first < length:
            begin = max(0, floor((first - self.before) / self.stride) * self.stride)
            # The last window is as long as the others: a short one may have no even maps.
            begin = min(begin, ceil((length - window) / self.stride) * self.stride)
            end = min(begin + window, length)
            last = length if end == length else end - self.after
            found.append(Piece(begin, end, first, last))
            first = last
        return found


def tiling_of(net: Network, channels: Mapping[str, int]) -> Tiling | None:
    """Where windows of a net's inputs may lie, derived from its maps as `explain` tells them.

    channels: of each field in network space. None where a part of somebody's own sees farther than
    its layers tell, such as a head that takes the mean over the whole image. With no such part
    the net computes nothing.
    """
    twin, dtype = on_meta(net), next(net.parameters()).dtype

    def maps(side: int) -> list[Map]:
        sizes = {name: (1, c, side, side) for name, c in channels.items()}
        with torch.inference_mode(), torch.device("meta"):
            return trace(twin, {name: torch.empty(s, dtype=dtype) for name, s in sizes.items()})

    seen = maps(LARGE)
    stride = lcm(*(int(m.grid.step) for m in seen))
    last = seen[-1]
    before, after = ceil(last.radius - last.grid.origin), ceil(last.radius + last.grid.origin)
    large = ceil(LARGE / stride) * stride
    if not _grow_evenly(maps(large), maps(large + stride), stride):
        return None  # a map of one size, such as a mean's: no window begins where its cells do
    even = stride
    while not _grow_evenly(maps(even), maps(even + stride), stride):
        even += stride
    least = max(even, before + after + stride)
    tiling = Tiling(stride, before, after, (ceil(least / stride) + 1) * stride)
    homes = {type(module).__module__.partition(".")[0] for module in net.modules()}
    return tiling if homes <= OURS or _holds(net, channels, tiling) else None


def _holds(net: Network, channels: Mapping[str, int], tiling: Tiling) -> bool:
    """Whether windows of two narrow made-up pictures, brighter towards an end, get their scores.

    The net is float64 for so long, since what is seen from afar may count for little.
    """
    dtype = next(net.parameters()).dtype
    length = tiling.least + tiling.before + tiling.after
    try:
        net.double()
        return all(
            _same(net, _picture(channels, size), tiling)
            for size in ((length, tiling.stride), (tiling.stride, length))
        )
    finally:
        net.to(dtype)


@torch.inference_mode()
def _same(net: Network, picture: dict[str, Tensor], tiling: Tiling) -> bool:
    """Whether the smallest windows of a picture (1, C, H, W), by field, get its scores."""
    device = next(net.parameters()).device
    picture = {name: x.to(device) for name, x in picture.items()}
    whole = net(picture)
    height, width = whole.shape[-2:]
    for row in tiling.pieces(height, tiling.least):
        for column in tiling.pieces(width, tiling.least):
            window = slice(row.begin, row.end), slice(column.begin, column.end)
            found = net({name: x[..., *window] for name, x in picture.items()})
            kept = whole[..., row.first : row.last, column.first : column.last]
            apart = (found[..., row.inner, column.inner] - kept).abs().max()
            if apart > NEAR * (whole.max() - whole.min()):
                return False
    return True


def _picture(channels: Mapping[str, int], size: tuple[int, int]) -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(0)
    ramp = torch.linspace(-100, 100, max(size), dtype=torch.float64)
    ramp = ramp[:, None] if size[0] > size[1] else ramp
    return {
        name: ramp + 30 * torch.randn(1, c, *size, generator=made, dtype=torch.float64)
        for name, c in channels.items()
    }


def on_meta(net: Network) -> Network:
    """A copy of a net that holds no numbers: it runs shapes."""
    known: dict[int, object] = {
        id(t): nn.Parameter(t.detach().to("meta"), requires_grad=False)
        if isinstance(t, nn.Parameter)
        else t.to("meta")
        for t in chain(net.parameters(), net.buffers())
    }
    return copy.deepcopy(net, known)


def _grow_evenly(small: list[Map], large: list[Map], by: int) -> bool:
    """Whether each map has grown by the cells that lie on `by` pixels: no smallest size rules."""
    return len(small) == len(large) and all(
        b.shape[1] - a.shape[1] == by / a.grid.step for a, b in zip(small, large, strict=True)
    )
