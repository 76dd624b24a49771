"""Images of different sizes in one pass: the maps of each beyond its own extent.

A batch pads its images at the lower right, and on every map an image has an extent of its own: the
map's size if it went through the net alone. Whatever lies beyond it is set to what the image alone
would have met there: zeros, as convolutions pad; for a maximum after ReLU, zeros too; or the last
cell of its scores, where upsampling repeats edges. Scores and gradients are then the image's own.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Extents(NamedTuple):
    """Heights and widths (h, w) of each image's own input to a layer, and of its own output."""

    given: Sequence[tuple[int, int]]
    made: Sequence[tuple[int, int]]


_extents: ContextVar[Mapping[nn.Module, Extents] | None] = ContextVar("extents", default=None)


@contextmanager
def mixed(extents: Mapping[nn.Module, Extents]) -> Iterator[None]:
    """Run a batch of images of different sizes in this context; extents: of every layer."""
    token = _extents.set(extents)
    try:
        yield
    finally:
        _extents.reset(token)


def is_mixed() -> bool:
    """Return True if the running batch has images of different sizes."""
    return _extents.get() is not None


def zero_beyond_relu(layer: nn.Module, made: Tensor) -> Tensor:
    """Zero the output (N, C, h, w) of a layer and its ReLU beyond each image's extent, in place.

    Autograd need not know: where its output is 0, ReLU passes no gradient.
    """
    extents = _extents.get()
    if extents is not None:
        _zero_beyond(made.data, extents[layer].made)
    return made


def zero_beyond(layer: nn.Module, made: Tensor) -> Tensor:
    """Zero a layer's output (N, C, h, w) beyond each image's extent, in place."""
    extents = _extents.get()
    if extents is None:
        return made
    return _ZeroBeyond.apply(made, extents[layer].made)


def settle(layer: nn.Module, maps: Tensor, *, repeat: bool) -> Tensor:
    """Return the input (N, C, h, w) of an upsampling with each image's own edge.

    Beyond an image's extent the result repeats its last cells if `repeat`, and is 0 otherwise.
    """
    extents = _extents.get()
    if extents is None:
        return maps
    given = extents[layer].given
    if not repeat:
        return maps.masked_fill(~_inside(given, maps), 0)
    rows, columns = (
        torch.arange(cells, device=maps.device).clamp(max=_column(sides, maps) - 1)
        for cells, sides in zip(maps.shape[-2:], zip(*given, strict=True), strict=True)
    )
    image = torch.arange(len(maps), device=maps.device)
    cells = maps.permute(0, 2, 3, 1)[image[:, None, None], rows[:, :, None], columns[:, None]]
    return cells.permute(0, 3, 1, 2)


class _ZeroBeyond(torch.autograd.Function):
    """Zeros beyond the extents, in place; no gradient passes there."""

    @staticmethod
    def forward(ctx: Any, made: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        ctx.mark_dirty(made)
        ctx.sizes = sizes
        return _zero_beyond(made, sizes)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _zero_beyond(grad.clone(), ctx.sizes), None


def _zero_beyond(maps: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Zero maps (N, C, H, W) beyond each image's size, in place."""
    height, width = maps.shape[-2:]
    if maps.device.type != "cpu":  # two strips for each image would be many small kernels
        return maps.masked_fill_(~_inside(sizes, maps), 0)
    for image, (h, w) in zip(maps, sizes, strict=True):
        if h < height:
            image[:, h:] = 0
        if w < width:
            image[:, :h, w:] = 0
    return maps


def _inside(sizes: Sequence[tuple[int, int]], like: Tensor) -> Tensor:
    """Return where maps (N, C, H, W) are inside each image's size, bool (N, 1, H, W)."""
    rows, columns = (
        torch.arange(cells, device=like.device) < _column(sides, like)
        for cells, sides in zip(like.shape[-2:], zip(*sizes, strict=True), strict=True)
    )
    return (rows[:, :, None] & columns[:, None])[:, None]


def _column(sides: Sequence[int], like: Tensor) -> Tensor:
    return torch.tensor(sides, device=like.device)[:, None]
