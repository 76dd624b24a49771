"""A layer's convolution and the ReLU behind it, by the fastest way that there is for them here."""

from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.nn.fast import matrix, packed, winograd
from fcnexp.nn.fast.frozen import Snapshot, learns
from fcnexp.nn.fast.switches import taken
from fcnexp.nn.fast.watched import watched

_FEW = 12  # cells of a side, below which tiles are mostly margin
# Channels from which Winograd's way is faster: of the fewer of input and output, and of the more.
_WINOGRAD_FROM = (64, 128)
_MANY = 2**20  # weights, from which their order is worth a thought


class _Prepared(NamedTuple):
    """A layer's weights as a way wants them."""

    snapshot: Snapshot
    way: object  # the way and its precision
    weight: Tensor


_kept: "WeakKeyDictionary[nn.Conv2d, _Prepared]" = WeakKeyDictionary()


def conv_relu(layer: nn.Conv2d, maps: Tensor, padding: tuple[int, ...] | None = None) -> Tensor:
    """ReLU of a layer's convolution of maps, (N, C, H, W) to (N, O, h, w).

    padding: of rows and columns, instead of the layer's own. Prepared weights are kept with the
    layer, one copy of them, until the layer's change; nothing is kept of a layer that learns.
    """
    dtype = _dtype(layer, maps)
    if dtype is None:
        return _plainly(layer, maps, padding)
    pad = layer.padding if padding is None else padding
    assert isinstance(pad, tuple)
    assert layer.bias is not None
    learning = torch.is_grad_enabled() and (maps.requires_grad or learns(layer))
    if _is_winograd(layer, maps, dtype):
        return _by_winograd(layer, maps, pad, learning)
    if _is_matrix(layer, maps, pad):
        if learning:
            return matrix.Convolution.apply(maps, layer.weight, layer.bias, dtype)
        if dtype == layer.weight.dtype:  # else a copy of the weights is needed: packed is best
            return matrix.convolve(maps, layer.weight, layer.bias)
    if learning or not taken("packed") or not packed.works(dtype):
        return _plainly(layer, maps, padding)
    weight = _prepared(layer, dtype, lambda: packed.pack(layer, dtype, maps.shape))
    return packed.convolve_packed(layer, weight, maps, pad)


def _by_winograd(
    layer: nn.Conv2d, maps: Tensor, padding: tuple[int, ...], learning: bool
) -> Tensor:
    """Of a filter spread by zeros, as in a rarefied net, on the maps split accordingly."""

    def run(part: Tensor, pad: tuple[int, ...]) -> Tensor:
        if learning:
            return winograd.Convolution.apply(part, layer.weight, layer.bias, pad)
        weights = _prepared(layer, "winograd", lambda: winograd.transform_weights(layer.weight))
        return winograd.convolve(part, weights, layer.bias, pad, relu=True)

    spread = layer.dilation[0]
    if spread == 1:
        return run(maps, padding)
    height, width = maps.shape[-2:]
    size = (height + 2 * (padding[0] - spread), width + 2 * (padding[1] - spread))
    parts = run(winograd.split(maps, spread, padding), (0, 0))
    return winograd.join(parts, spread, size)


def _plainly(layer: nn.Conv2d, maps: Tensor, padding: tuple[int, ...] | None) -> Tensor:
    if padding is None:
        # Torch does not let what a backward hook watches be changed in place.
        inplace = not layer._backward_hooks and not layer._backward_pre_hooks
        return F.relu(layer(maps), inplace=inplace)
    made = F.conv2d(
        maps, layer.weight, layer.bias, layer.stride, padding, layer.dilation, layer.groups
    )
    return F.relu(made, inplace=True)


def _dtype(layer: nn.Conv2d, maps: Tensor) -> torch.dtype | None:
    """Precision of what comes out; None where only the plain way will do."""
    if torch.compiler.is_compiling() or torch.compiler.is_exporting() or maps.device.type != "cpu":
        return None
    if type(layer) is not nn.Conv2d or watched(layer):
        return None
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str) or layer.bias is None:
        return None
    if layer.weight.dtype == torch.float32 and torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return maps.dtype if maps.dtype == layer.weight.dtype else None


def _is_winograd(layer: nn.Conv2d, maps: Tensor, dtype: torch.dtype) -> bool:
    """Whether Winograd's way is there for a layer, and is faster.

    Not in bfloat16: what it multiplies would be rounded to 8 bits, ten times as far off; and in
    float32 all the same it would be slower than a plain convolution.
    """
    if not taken("winograd") or dtype not in (torch.float32, torch.float64):
        return False
    spread = layer.dilation[0]
    form = (layer.kernel_size, layer.stride, layer.dilation, layer.groups)
    fewer, more = sorted((layer.in_channels, layer.out_channels))
    return (
        form == ((3, 3), (1, 1), (spread, spread), 1)
        and fewer >= _WINOGRAD_FROM[0]
        and more >= _WINOGRAD_FROM[1]
        and min(maps.shape[-2:]) >= _FEW * spread
    )


def _is_matrix(layer: nn.Conv2d, maps: Tensor, padding: tuple[int, ...]) -> bool:
    """Whether a layer has so many weights that a product of matrices is faster."""
    if not taken("matrix"):
        return False
    side = layer.kernel_size[0]
    height, width = maps.shape[-2] - side + 1, maps.shape[-1] - side + 1
    square = (side, side)
    plain = (layer.kernel_size, layer.stride, layer.dilation, layer.groups, padding)
    return (
        plain == (square, (1, 1), (1, 1), 1, (0, 0))
        and min(height, width) >= 1
        and layer.weight.numel() >= _MANY
        and layer.out_channels >= len(maps) * height * width
    )


def _prepared(layer: nn.Conv2d, way: object, prepare: Callable[[], Tensor]) -> Tensor:
    """A layer's weights for a way: those that are kept, or new ones where they do not hold."""
    kept = _kept.get(layer)
    if kept is None or kept.way != way or not kept.snapshot.holds([layer]):
        _kept.pop(layer, None)  # before there is another
        with torch.no_grad():
            kept = _kept[layer] = _Prepared(Snapshot([layer]), way, prepare())
    return kept.weight
