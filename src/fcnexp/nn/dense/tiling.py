"""Cutting of an image into windows such that every pixel keeps its whole-image scores.

A window that begins at a multiple of the net's stride has its cells where the whole image has them,
including rounding and padding. If a window ends inside the image, pixels whose scores depend on
what lies beyond it are dropped. The kept scores equal the whole image's up to float rounding.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from math import ceil, floor, lcm
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fcnexp.nn.inspection.function_tracer import Map
from fcnexp.nn.inspection.trace import trace
from fcnexp.nn.streams import Network
from fcnexp.nn.whole.parts import WholeNet

TRACEABLE = {"fcnexp", "torch", "torchvision"}  # packages whose modules `trace` understands
LARGE = 2048  # pixels: at this side every map already grows in proportion to the image
TOLERANCE = 1e-9  # of the range of scores; float64 rounding errors are smaller


class Piece(NamedTuple):
    """Window of an image along one axis, [begin, end), and the pixels it scores, [first, last)."""

    begin: int
    end: int
    first: int
    last: int

    @property
    def inner(self) -> slice:
        """The scored pixels, relative to the window's start."""
        return slice(self.first - self.begin, self.last - self.begin)


@dataclass(frozen=True)
class Tiling:
    """Constraints on windows, in pixels, the same along both axes.

    stride: windows begin at multiples of it, so that the cells of all maps line up.
    before, after: distances before and after a pixel that its scores may depend on.
    least: smallest length of a window, a multiple of stride. From there on maps grow evenly and
        each window scores at least one pixel; an image of at most this length is not cut.
    """

    stride: int
    before: int
    after: int
    least: int

    def pieces(self, length: int, window: int) -> list[Piece]:
        """Windows of about equal length, at most `window`, that together score an axis.

        length: of the axis. Raises ValueError if the axis must be cut and window is below `least`.
        """
        if length <= window:
            return [Piece(0, length, 0, length)]
        if window < self.least:
            raise ValueError(f"window={window}: this net needs windows of {self.least} or more")
        window -= window % self.stride
        found = self._cut(length, window)
        while window > self.least:  # the shortest windows that do not increase their number
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
            # The last window is as long as the others: maps of a short one may not grow evenly.
            begin = min(begin, ceil((length - window) / self.stride) * self.stride)
            end = min(begin + window, length)
            last = length if end == length else end - self.after
            found.append(Piece(begin, end, first, last))
            first = last
        return found


def tiling_of(net: Network, channels: Mapping[str, int]) -> Tiling | None:
    """Return the constraints on windows of a net's inputs, derived from its traced maps.

    channels: of each field in network space. Returns None if the net cannot be tiled because a
    part depends on the whole image, such as a custom head that averages over it. Only nets with
    custom modules are run on data, to check the result.
    """
    if any(isinstance(scorer, WholeNet) for scorer in net.scorers().values()):
        return None  # its upsampling depends on the image's size, and it may see all of the image
    twin, dtype = on_meta(net), next(net.parameters()).dtype

    def maps(side: int) -> list[Map]:
        sizes = {name: (1, c, side, side) for name, c in channels.items()}
        with torch.inference_mode(), torch.device("meta"):
            return trace(twin, {name: torch.empty(s, dtype=dtype) for name, s in sizes.items()})

    traced = maps(LARGE)
    stride = lcm(*(int(m.grid.step) for m in traced))
    last = traced[-1]
    before, after = ceil(last.radius - last.grid.origin), ceil(last.radius + last.grid.origin)
    large = ceil(LARGE / stride) * stride
    if not _grow_evenly(maps(large), maps(large + stride), stride):
        return None  # a map has a fixed size, such as a global mean
    even = stride
    while not _grow_evenly(maps(even), maps(even + stride), stride):
        even += stride
    least = max(even, before + after + stride)
    tiling = Tiling(stride, before, after, (ceil(least / stride) + 1) * stride)
    packages = {type(module).__module__.partition(".")[0] for module in net.modules()}
    return tiling if packages <= TRACEABLE or _is_exact(net, channels, tiling) else None


def _is_exact(net: Network, channels: Mapping[str, int], tiling: Tiling) -> bool:
    """True if tiling leaves the scores of two narrow generated images unchanged.

    Computed in float64, since distant pixels may contribute little to a score.
    """
    dtype = next(net.parameters()).dtype
    length = tiling.least + tiling.before + tiling.after
    try:
        net.double()
        return all(
            _scores_match(net, _generated_inputs(channels, size), tiling)
            for size in ((length, tiling.stride), (tiling.stride, length))
        )
    finally:
        net.to(dtype)


@torch.inference_mode()
def _scores_match(net: Network, inputs: dict[str, Tensor], tiling: Tiling) -> bool:
    """True if the smallest windows of inputs (1, C, H, W), by field, score as the whole does."""
    device = next(net.parameters()).device
    inputs = {name: x.to(device) for name, x in inputs.items()}
    whole = net(inputs)
    height, width = whole.shape[-2:]
    for row in tiling.pieces(height, tiling.least):
        for column in tiling.pieces(width, tiling.least):
            window = slice(row.begin, row.end), slice(column.begin, column.end)
            found = net({name: x[..., *window] for name, x in inputs.items()})
            kept = whole[..., row.first : row.last, column.first : column.last]
            error = (found[..., row.inner, column.inner] - kept).abs().max()
            if error > TOLERANCE * (whole.max() - whole.min()):
                return False
    return True


def _generated_inputs(channels: Mapping[str, int], size: tuple[int, int]) -> dict[str, Tensor]:
    """Noise on a ramp along the longer axis, so that a mean over the image would differ."""
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(-100, 100, max(size), dtype=torch.float64)
    ramp = ramp[:, None] if size[0] > size[1] else ramp
    return {
        name: ramp + 30 * torch.randn(1, c, *size, generator=generator, dtype=torch.float64)
        for name, c in channels.items()
    }


def on_meta(net: Network) -> Network:
    """Copy a net to the meta device: it computes shapes only."""
    known: dict[int, object] = {
        id(t): nn.Parameter(t.detach().to("meta"), requires_grad=False)
        if isinstance(t, nn.Parameter)
        else t.to("meta")
        for t in chain(net.parameters(), net.buffers())
    }
    return copy.deepcopy(net, known)


def _grow_evenly(small: list[Map], large: list[Map], by: int) -> bool:
    """True if every map has grown in proportion to the image, which has grown by `by` pixels."""
    return len(small) == len(large) and all(
        b.shape[1] - a.shape[1] == by / a.grid.step for a, b in zip(small, large, strict=True)
    )
