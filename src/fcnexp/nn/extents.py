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


class _Batch(NamedTuple):
    """The running batch: extents of every layer, and masks made so far, by size of map."""

    extents: Mapping[nn.Module, Extents]
    masks: dict[object, Tensor]


_batch: ContextVar[_Batch | None] = ContextVar("batch", default=None)


@contextmanager
def mixed(extents: Mapping[nn.Module, Extents]) -> Iterator[None]:
    """Run a batch of images of different sizes in this context; extents: of every layer."""
    token = _batch.set(_Batch(extents, {}))
    try:
        yield
    finally:
        _batch.reset(token)


def is_mixed() -> bool:
    """Return True if the running batch has images of different sizes."""
    return _batch.get() is not None


def zero_beyond_relu(layer: nn.Module, made: Tensor) -> Tensor:
    """Zero the output (N, C, h, w) of a layer and its ReLU beyond each image's extent, in place.

    Autograd need not know: where its output is 0, ReLU passes no gradient.
    """
    batch = _batch.get()
    if batch is not None:
        _zero_beyond(made.data, batch.extents[layer].made, batch)
    return made


def zero_beyond(layer: nn.Module, made: Tensor) -> Tensor:
    """Zero a layer's output (N, C, h, w) beyond each image's extent, in place."""
    batch = _batch.get()
    return made if batch is None else _ZeroBeyond.apply(made, batch.extents[layer].made, batch)


def settle(layer: nn.Module, maps: Tensor, *, repeat: bool) -> Tensor:
    """Return the input (N, C, h, w) of an upsampling with each image's own edge.

    Beyond an image's extent the result repeats its last cells if `repeat`, and is 0 otherwise.
    """
    batch = _batch.get()
    if batch is None:
        return maps
    sizes = batch.extents[layer].given
    if not repeat:
        return maps.masked_fill(_beyond(sizes, maps, batch), 0)
    image, row, column = (torch.arange(side, device=maps.device) for side in _sides(maps))
    rows = torch.stack([row.clamp(max=height - 1) for height, _ in sizes])
    columns = torch.stack([column.clamp(max=width - 1) for _, width in sizes])
    cells = maps.permute(0, 2, 3, 1)[image[:, None, None], rows[:, :, None], columns[:, None]]
    return cells.permute(0, 3, 1, 2)


class _ZeroBeyond(torch.autograd.Function):
    """Zeros beyond the extents, in place; no gradient passes there."""

    @staticmethod
    def forward(ctx: Any, made: Tensor, sizes: Sequence[tuple[int, int]], batch: _Batch) -> Tensor:
        ctx.mark_dirty(made)
        ctx.sizes, ctx.batch = sizes, batch
        return _zero_beyond(made, sizes, batch)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _zero_beyond(grad.clone(), ctx.sizes, ctx.batch), None, None


def _zero_beyond(maps: Tensor, sizes: Sequence[tuple[int, int]], batch: _Batch) -> Tensor:
    """Zero maps (N, C, H, W) beyond each image's size, in place."""
    if maps.device.type != "cpu":  # two strips for each image would be many small kernels
        return maps.masked_fill_(_beyond(sizes, maps, batch), 0)
    height, width = maps.shape[-2:]
    for image, (h, w) in zip(maps, sizes, strict=True):
        if h < height:
            image[:, h:] = 0
        if w < width:
            image[:, :h, w:] = 0
    return maps


def _beyond(sizes: Sequence[tuple[int, int]], like: Tensor, batch: _Batch) -> Tensor:
    """Return where maps (N, C, H, W) are beyond each image's size, bool (N, 1, H, W).

    Made on their device, since a copy to a GPU would wait for it.
    """
    images, height, width = _sides(like)
    key = (height, width, like.device, *sizes)
    if key not in batch.masks:
        mask = torch.ones(images, 1, height, width, dtype=torch.bool, device=like.device)
        for image, (h, w) in zip(mask, sizes, strict=True):
            image[:, :h, :w] = False
        batch.masks[key] = mask
    return batch.masks[key]


def _sides(maps: Tensor) -> tuple[int, int, int]:
    images, _, height, width = maps.shape
    return images, height, width
