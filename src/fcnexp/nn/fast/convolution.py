"""A layer's convolution and the ReLU after it, by the fastest path that fits the layer."""

from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.nn.extents import zero_beyond_relu
from fcnexp.nn.fast import matrix, packed, winograd
from fcnexp.nn.fast.eligibility import Snapshot, is_hooked, learns
from fcnexp.nn.fast.switches import enabled

_FEW = 12  # cells per side, below which tiles are mostly margin
# Channels from which Winograd is faster: the smaller and the larger of input and output.
_WINOGRAD_FROM = (64, 128)
_MANY = 2**20  # weights, from which their memory layout matters


class _Prepared(NamedTuple):
    """A layer's weights in the form that a fast path needs."""

    snapshot: Snapshot
    path: object  # "winograd", or the precision of packed weights
    weight: Tensor


_kept: "WeakKeyDictionary[nn.Conv2d, _Prepared]" = WeakKeyDictionary()


def conv_relu(layer: nn.Conv2d, maps: Tensor, padding: tuple[int, ...] | None = None) -> Tensor:
    """Return ReLU of a layer's convolution of maps, (N, C, H, W) to (N, O, h, w).

    padding: of rows and columns, instead of the layer's own. One copy of the prepared weights is
    cached per layer until its weights change; nothing is cached for a layer that learns.
    """
    return zero_beyond_relu(layer, _conv_relu(layer, maps, padding))


def _conv_relu(layer: nn.Conv2d, maps: Tensor, padding: tuple[int, ...] | None) -> Tensor:
    dtype = _dtype(layer, maps)
    if dtype is None:
        return _plain(layer, maps, padding)
    pad = layer.padding if padding is None else padding
    assert isinstance(pad, tuple) and layer.bias is not None
    learning = torch.is_grad_enabled() and (maps.requires_grad or learns(layer))
    if _use_winograd(layer, maps, dtype):
        return _by_winograd(layer, maps, pad, learning)
    if _use_matrix(layer, maps, pad):
        if learning:
            return matrix.Convolution.apply(maps, layer.weight, layer.bias, dtype)
        if dtype == layer.weight.dtype:  # otherwise the weights must be copied: packed is best
            return matrix.convolve(maps, layer.weight, layer.bias)
    if learning or not enabled("packed") or not packed.works(dtype):
        return _plain(layer, maps, padding)
    weight = _prepared(layer, dtype, lambda: packed.pack(layer, dtype, maps.shape))
    return packed.convolve_packed(layer, weight, maps, pad)


def _by_winograd(layer: nn.Conv2d, maps: Tensor, pad: tuple[int, ...], learning: bool) -> Tensor:
    """Run Winograd's convolution; a dilated filter, as in rarefied nets, runs on split maps."""

    def run(part: Tensor, padding: tuple[int, ...]) -> Tensor:
        if learning:
            return winograd.Convolution.apply(part, layer.weight, layer.bias, padding)
        weights = _prepared(layer, "winograd", lambda: winograd.transform_weights(layer.weight))
        return winograd.convolve(part, weights, layer.bias, padding, relu=True)

    dilation = layer.dilation[0]
    if dilation == 1:
        return run(maps, pad)
    height, width = maps.shape[-2:]
    size = (height + 2 * (pad[0] - dilation), width + 2 * (pad[1] - dilation))
    parts = run(winograd.split(maps, dilation, pad), (0, 0))
    return winograd.join(parts, dilation, size)


def _plain(layer: nn.Conv2d, maps: Tensor, padding: tuple[int, ...] | None) -> Tensor:
    if padding is None:
        # Torch forbids in-place changes of an output that a backward hook watches.
        inplace = not layer._backward_hooks and not layer._backward_pre_hooks
        return F.relu(layer(maps), inplace=inplace)
    made = F.conv2d(
        maps, layer.weight, layer.bias, layer.stride, padding, layer.dilation, layer.groups
    )
    return F.relu(made, inplace=True)


def _dtype(layer: nn.Conv2d, maps: Tensor) -> torch.dtype | None:
    """Return the precision of the output; None if no fast path may run."""
    if torch.compiler.is_compiling() or torch.compiler.is_exporting() or maps.device.type != "cpu":
        return None
    if type(layer) is not nn.Conv2d or is_hooked(layer):
        return None
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str) or layer.bias is None:
        return None
    if layer.weight.dtype == torch.float32 and torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return maps.dtype if maps.dtype == layer.weight.dtype else None


def _use_winograd(layer: nn.Conv2d, maps: Tensor, dtype: torch.dtype) -> bool:
    """Return True if Winograd's convolution supports a layer and is faster.

    Not in bfloat16: rounding the transformed values to 8 bits makes errors ten times as large, and
    computing them in float32 is slower than a plain convolution.
    """
    if not enabled("winograd") or dtype not in (torch.float32, torch.float64):
        return False
    dilation = layer.dilation[0]
    form = (layer.kernel_size, layer.stride, layer.dilation, layer.groups)
    fewer, more = sorted((layer.in_channels, layer.out_channels))
    return (
        form == ((3, 3), (1, 1), (dilation, dilation), 1)
        and fewer >= _WINOGRAD_FROM[0]
        and more >= _WINOGRAD_FROM[1]
        and min(maps.shape[-2:]) >= _FEW * dilation
    )


def _use_matrix(layer: nn.Conv2d, maps: Tensor, padding: tuple[int, ...]) -> bool:
    """Return True if a layer has so many weights that a matrix product is faster."""
    side = layer.kernel_size[0]
    height, width = maps.shape[-2] - side + 1, maps.shape[-1] - side + 1
    form = (layer.kernel_size, layer.stride, layer.dilation, layer.groups, padding)
    return (
        enabled("matrix")
        and form == ((side, side), (1, 1), (1, 1), 1, (0, 0))
        and min(height, width) >= 1
        and layer.weight.numel() >= _MANY
        and layer.out_channels >= len(maps) * height * width
    )


def _prepared(layer: nn.Conv2d, path: object, prepare: Callable[[], Tensor]) -> Tensor:
    """Return a layer's weights for a fast path: the cached ones, or new ones if they are stale."""
    kept = _kept.get(layer)
    if kept is None or kept.path != path or not kept.snapshot.holds([layer]):
        _kept.pop(layer, None)  # frees the old copy before the new one is made
        with torch.no_grad():
            kept = _kept[layer] = _Prepared(Snapshot([layer]), path, prepare())
    return kept.weight
