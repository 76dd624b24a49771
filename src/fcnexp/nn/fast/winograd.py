"""3x3 convolutions by Winograd's minimal filtering: a quarter of the multiplications.

A tile of 4x4 outputs depends on 6x6 inputs. Evaluating polynomials at five points and at infinity
takes 36 products per pair of channels instead of 144. Tiles are processed a few rows at a time to
stay in the processor's cache. In float32 the rounding error is about that of a plain convolution:
the points 0, 1, -1, 1/2, -2 are those that amplify values least. A sum that should be 0 becomes a
rounding error, so a ReLU after it may or may not pass a gradient; this happens next to constant
zeros if biases are 0.
Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016; Cook and
Toom for other points.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
_TILES = 256  # per part: few enough for the cache, enough to amortise reading the weights
TILE, SEEN = 4, 6  # side of a tile of outputs, and of the inputs it depends on


class Transforms(NamedTuple):
    """Matrices between values and their evaluations, for rows and columns together.

    inputs: (36, 36); weights: (36, 9); outputs: (16, 36).
    """

    inputs: Tensor
    weights: Tensor
    outputs: Tensor


@cache
def transforms(dtype: torch.dtype) -> Transforms:
    """Return the transforms in a precision, computed in float64."""
    points = np.array(POINTS)
    others = [np.delete(points, i) for i in range(len(points))]
    scale = np.array([np.prod(point - rest) for point, rest in zip(points, others, strict=True)])
    weights = np.zeros((SEEN, 3))
    weights[:-1] = points[:, None] ** np.arange(3) / scale[:, None]
    outputs = np.zeros((TILE, SEEN))
    outputs[:, :-1] = points ** np.arange(TILE)[:, None]
    weights[-1, -1] = outputs[-1, -1] = 1  # the point at infinity: the highest power
    inputs = np.zeros((SEEN, SEEN))
    for row, roots in enumerate(others):
        inputs[row, :-1] = np.poly(roots)[::-1]
    inputs[-1] = np.poly(points)[::-1]
    with torch.inference_mode(False):  # the cache is also used in training
        return Transforms(
            *(torch.from_numpy(np.kron(m, m)).to(dtype) for m in (inputs, weights, outputs))
        )


def transform_weights(weight: Tensor) -> Tensor:
    """Return the evaluations (36, O, C) of a layer's weights (O, C, 3, 3)."""
    outputs, channels = weight.shape[:2]
    taps = weight.permute(2, 3, 0, 1).reshape(9, -1)
    with torch.autocast(weight.device.type, enabled=False):
        return torch.mm(transforms(weight.dtype).weights, taps).view(SEEN**2, outputs, channels)


def convolve(
    maps: Tensor, weights: Tensor, bias: Tensor | None, padding: tuple[int, ...], *, relu: bool
) -> Tensor:
    """Return a 3x3 convolution of maps (N, C, H, W), both channels last.

    The result is (N, O, H + 2 pad - 2, W + 2 pad - 2). weights: transformed, (36, O, C).
    bias: (O,). relu: set negative outputs to 0.
    """
    images, _, height, width = maps.shape
    height, width = height + 2 * padding[0] - 2, width + 2 * padding[1] - 2
    made = weights.new_empty(images, height, width, weights.shape[1])
    with torch.autocast(maps.device.type, enabled=False):
        for part in _parts(made):
            _convolve_part(maps, weights, bias, padding, part.of(made), part=part, relu=relu)
    return made.permute(0, 3, 1, 2)


class _Part(NamedTuple):
    """Rows of tiles of consecutive images: first image and row, and the number of each."""

    image: int
    images: int
    row: int
    rows: int
    columns: int

    def of(self, made: Tensor) -> Tensor:
        """Return the part's view of outputs (N, H, W, O)."""
        first = TILE * self.row
        return made[self.image : self.image + self.images, first : first + TILE * self.rows]


def _convolve_part(
    maps: Tensor,
    weights: Tensor,
    bias: Tensor | None,
    padding: tuple[int, ...],
    place: Tensor,
    *,
    part: _Part,
    relu: bool,
) -> None:
    """Write a part's outputs to `place`; as a function, it frees its memory before the next."""
    matrices, channels = transforms(weights.dtype), weights.shape[1]
    products = torch.bmm(_evaluate(maps, part, padding, matrices.inputs), weights.transpose(1, 2))
    tiles = torch.mm(matrices.outputs, products.view(SEEN**2, -1))
    tiles = tiles.view(TILE, TILE, part.images, part.rows, part.columns, channels)
    tiles = tiles.permute(2, 3, 0, 4, 1, 5)
    whole = tiles.new_empty(tiles.shape)  # contiguous, unlike a plain sum
    whole = whole.copy_(tiles) if bias is None else torch.add(tiles, bias, out=whole)
    whole = whole.view(part.images, TILE * part.rows, TILE * part.columns, channels)
    whole = whole[:, : place.shape[1], : place.shape[2]]
    if relu:
        torch.clamp_min(whole, 0, out=place)
    else:
        place.copy_(whole)


def _parts(made: Tensor) -> Iterator[_Part]:
    """Yield parts of outputs (N, H, W, O) with about `_TILES` tiles each, at least one row."""
    images, height, width = made.shape[:3]
    rows, columns = -(-height // TILE), -(-width // TILE)
    together = max(1, min(rows, _TILES // columns))
    count = max(1, _TILES // (rows * columns)) if together == rows else 1
    for image in range(0, images, count):
        for row in range(0, rows, together):
            yield _Part(image, min(count, images - image), row, min(together, rows - row), columns)


def _evaluate(maps: Tensor, part: _Part, padding: tuple[int, ...], matrix: Tensor) -> Tensor:
    """Return evaluations (36, tiles, C) of a part's inputs, padded here to stay in the cache."""
    channels, height, width = maps.shape[1:]
    top, left = padding
    first, last = TILE * part.row - top, TILE * (part.row + part.rows) + 2 - top
    seen = maps[part.image : part.image + part.images, :, max(first, 0) : last].permute(0, 2, 3, 1)
    right = TILE * part.columns + 2 - left - width
    margins = (0, 0, left, right, max(-first, 0), max(last - height, 0))
    if any(margins):
        seen = F.pad(seen, margins)
    tiles = seen.unfold(1, SEEN, TILE).unfold(2, SEEN, TILE).permute(4, 5, 0, 1, 2, 3)
    return torch.mm(matrix, tiles.reshape(SEEN**2, -1)).view(SEEN**2, -1, channels)


def _spread(place: Tensor, part: _Part, matrix: Tensor) -> Tensor:
    """Return gradients (36, tiles, O) of a part's products, given its outputs' (N, h, w, O)."""
    below, right = TILE * part.rows - place.shape[1], TILE * part.columns - place.shape[2]
    place = F.pad(place, (0, 0, 0, right, 0, below))
    tiles = place.unfold(1, TILE, TILE).unfold(2, TILE, TILE).permute(4, 5, 0, 1, 2, 3)
    return torch.mm(matrix.T, tiles.reshape(TILE**2, -1)).view(SEEN**2, -1, place.shape[-1])


def split(maps: Tensor, step: int, padding: tuple[int, ...]) -> Tensor:
    """Split padded maps (N, C, H, W) into (step^2 N, C, h, w), each with every step-th cell.

    The inputs of a filter with dilation `step` become neighbours. The end is padded with zeros.
    """
    images, channels, height, width = maps.shape
    (top, left), sides = padding, (height + 2 * padding[0], width + 2 * padding[1])
    bottom, right = (pad + -side % step for pad, side in zip(padding, sides, strict=True))
    last = F.pad(maps.permute(0, 2, 3, 1), (0, 0, left, right, top, bottom))
    cells = last.view(images, last.shape[1] // step, step, last.shape[2] // step, step, channels)
    cells = cells.permute(2, 4, 0, 1, 3, 5).reshape(-1, *cells.shape[1::2])
    return cells.permute(0, 3, 1, 2)


def join(parts: Tensor, step: int, size: tuple[int, int]) -> Tensor:
    """Undo `split` for maps without padding: (step^2 N, C, h, w) to (N, C, *size)."""
    cells = parts.permute(0, 2, 3, 1)
    height, width, channels = cells.shape[1:]
    cells = cells.reshape(step, step, -1, height, width, channels).permute(2, 3, 0, 4, 1, 5)
    whole = cells.reshape(-1, step * height, step * width, channels)
    return whole[:, : size[0], : size[1]].permute(0, 3, 1, 2)


class Convolution(torch.autograd.Function):
    """A 3x3 convolution and ReLU whose gradients are also computed by Winograd's method."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, padding: tuple[int, ...]
    ) -> Tensor:
        """Return (N, O, H', W') for (N, C, H, W), (O, C, 3, 3) and (O,)."""
        made = convolve(maps, transform_weights(weight), bias, padding, relu=True)
        ctx.save_for_backward(maps, weight, made)
        ctx.padding = padding
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of maps, weight and bias."""
        maps, weight, made = ctx.saved_tensors
        grad = (grad * (made > 0)).contiguous(memory_format=torch.channels_last)
        of_maps = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            # The gradient of the maps is a convolution with the rotated filter.
            rotated = transform_weights(weight.flip(2, 3).transpose(0, 1))
            padding = (2 - ctx.padding[0], 2 - ctx.padding[1])
            of_maps = convolve(grad, rotated, None, padding, relu=False)
        if ctx.needs_input_grad[1]:
            of_weight = weight_gradient(maps, grad, ctx.padding)
        if ctx.needs_input_grad[2]:
            of_bias = grad.sum((0, 2, 3))
        return of_maps, of_weight, of_bias, None


def weight_gradient(maps: Tensor, grad: Tensor, padding: tuple[int, ...]) -> Tensor:
    """Return the gradient (O, C, 3, 3) for maps (N, C, H, W) and gradients (N, O, H', W')."""
    with torch.autocast(maps.device.type, enabled=False):
        matrices, outputs, channels = transforms(grad.dtype), grad.shape[1], maps.shape[1]
        last = grad.permute(0, 2, 3, 1)
        total = grad.new_zeros(SEEN**2, outputs, channels)
        for part in _parts(last):
            total.baddbmm_(
                _spread(part.of(last), part, matrices.outputs).transpose(1, 2),
                _evaluate(maps, part, padding, matrices.inputs),
            )
        taps = torch.mm(matrices.weights.T, total.view(SEEN**2, -1))
        return taps.view(3, 3, outputs, channels).permute(2, 3, 0, 1)
