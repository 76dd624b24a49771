"""Positions that windows see: of convolutions, poolings and padding, along any axes of a map.

Cells beyond the border of a map continue its positions, as its last two cells do. With `ends`, maps
hold lowest positions, and NaN where there is none; else weighted positions, see `positions`.
"""

from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor


def over(x: Tensor, axis: int, *, ends: bool) -> Tensor:
    """Return the mean or lowest position along an axis, which keeps one cell."""
    if x.stride(axis) == 0:
        return x.narrow(axis, 0, 1)
    if not ends:
        return x.mean(axis, keepdim=True)
    found = x.nan_to_num(nan=torch.inf, posinf=torch.inf).amin(axis, keepdim=True)
    return found.where(found != torch.inf, torch.nan)


def meet(a: Tensor, b: Tensor, *, ends: bool) -> tuple[Tensor, float]:
    """Return the lowest of two maps' positions, or the first, and how far apart they are.

    Positions of the second map count where the first has none.
    """
    shape = torch.broadcast_shapes(a.shape, b.shape)
    if a.shape == b.shape and a.ndim == 4 and a.stride(1) == b.stride(1) == 0:
        a, b = a[:, :1], b[:, :1]  # all channels are views of one
    if ends:
        return torch.fmin(a, b).expand(shape), 0.0
    if shape[0] % 3:  # not a batch of weights, rows and columns
        return a.expand(shape), 0.0
    a, b = (
        x.expand(torch.broadcast_shapes(a.shape, b.shape)).unflatten(0, (3, -1)) for x in (a, b)
    )
    known = a[:1] != 0
    apart = (a[1:] / a[:1] - b[1:] / b[:1]).abs().nan_to_num(0, 0, 0).max()
    return torch.where(known, a, b).flatten(0, 1).expand(shape), float(apart)


def at(x: Tensor, axis: int, places: Tensor) -> Tensor:
    """Return x between and beyond its cells along an axis; places: fractional indices, float64."""
    cells = x.shape[axis]
    if cells == 1:
        whole = bool((places == 0).all())
        return x.index_select(axis, torch.zeros_like(places, dtype=torch.long)) * (
            1 if whole else torch.nan
        )
    left = places.floor().clamp(0, cells - 2)
    part = (places - left).view([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
    before, after = (x.index_select(axis, left.long() + i) for i in (0, 1))
    return before + (after - before) * part


def seen(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    dilation: Sequence[int],
    sizes: Sequence[int],
    *,
    ends: bool,
) -> Tensor:
    """Return the position of each window along the last axes: of its middle, or lowest end."""
    axes = range(x.ndim - len(sizes), x.ndim)
    each = zip(axes, kernel, stride, pad, dilation, sizes, strict=True)
    for axis, k, s, p, d, cells in each:
        first = torch.arange(cells, dtype=torch.float64) * s - p
        reach = d * (k - 1)
        if ends:
            x = torch.fmin(at(x, axis, first), at(x, axis, first + reach))
        elif cells != x.shape[axis] or s != 1 or 2 * p != reach:
            x = at(x, axis, first + reach / 2)
    return x


def spread(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int],
    sizes: Sequence[int], *, ends: bool,
) -> Tensor:  # fmt: skip
    """Return the position of each output cell of a transposed convolution, as `seen` does."""
    axes = range(x.ndim - len(sizes), x.ndim)
    for axis, k, s, p, cells in zip(axes, kernel, stride, pad, sizes, strict=True):
        cell = torch.arange(cells, dtype=torch.float64) + p
        if ends:
            low, high = ((cell - k + 1) / s).ceil(), (cell / s).floor()
            x = torch.fmin(at(x, axis, low), at(x, axis, high))
        else:
            x = at(x, axis, (cell - (k - 1) / 2) / s)
    return x


def padded(x: Tensor, pads: Sequence[int]) -> Tensor:
    """Return x continued by pairs of cells before and after, for the last axis first."""
    if len(pads) == 4 and x.ndim == 4 and x.stride(1) == 0 and x.shape[1] > 1:
        return padded(x[:, :1], pads).expand(-1, x.shape[1], -1, -1)
    for i, (lead, trail) in enumerate(zip(pads[::2], pads[1::2], strict=True)):
        axis = x.ndim - 1 - i
        if lead or trail:
            places = torch.arange(-lead, x.shape[axis] + trail, dtype=torch.float64)
            x = at(x, axis, places)
    return x


def out_size(
    cells: int, kernel: int, stride: int, pad: int, dilation: int, *, up: bool = False
) -> int:
    """Return the number of a layer's windows along one axis; up: rounded up, as torch's pools."""
    room = cells + 2 * pad - dilation * (kernel - 1) - 1
    found = (ceil(room / stride) if up else room // stride) + 1
    found -= up and (found - 1) * stride >= cells + pad
    if found < 1:
        raise ValueError(f"a window of {kernel} does not fit {cells} cells")
    return found


def numbers(value: object, axes: int) -> tuple[int, ...]:
    """Return a layer's number for each axis."""
    given = tuple(value) if isinstance(value, tuple | list) else (value,)
    return tuple(int(n) for n in (given * axes if len(given) == 1 else given))
