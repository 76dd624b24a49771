"""Convolution and ReLU in one, on weights in the processor's own order.

A convolution on the CPU brings its weights into blocks that suit the processor, at every call:
those of VGG16's fc6 are 411 MB. Packed once, they save that. By private operators of torch, where
they are there and do what the public ones do.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# How far packed convolutions may be from plain ones where they are tried out, by precision.
_NEAR = {torch.float32: 1e-5, torch.bfloat16: 0.02}


def pack(layer: nn.Conv2d, dtype: torch.dtype, size: torch.Size) -> Tensor:
    """A layer's weights in blocks. size: of maps, a hint; other sizes run as fast on it."""
    return torch.ops.mkldnn._reorder_convolution_weight(
        layer.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last),
        list(layer.padding),
        list(layer.stride),
        list(layer.dilation),
        layer.groups,
        list(size),
    )


def convolve_packed(
    layer: nn.Conv2d, weight: Tensor, maps: Tensor, padding: tuple[int, ...]
) -> Tensor:
    """ReLU of a layer's convolution of maps (N, C, H, W), in the packed weight's precision."""
    return torch.ops.mkldnn._convolution_pointwise(
        maps.to(weight.dtype).contiguous(memory_format=torch.channels_last),
        weight,
        None if layer.bias is None else layer.bias.detach().to(weight.dtype),
        list(padding),
        list(layer.stride),
        list(layer.dilation),
        layer.groups,
        "relu",
        [],
        "",
    )


@cache
def works(dtype: torch.dtype) -> bool:
    """Whether there are such operators here, and agree with the public ones at two sizes."""
    if dtype not in _NEAR or not torch.backends.mkldnn.is_available():
        return False
    with torch.inference_mode(), torch.autocast("cpu", enabled=False), torch.random.fork_rng([]):
        layer = nn.Conv2d(8, 16, 3, padding=1, device="cpu", dtype=torch.float32)
        try:
            weight = pack(layer, dtype, torch.Size((1, 8, 9, 7)))
            return all(
                _agree(layer, weight, torch.randn(2, 8, *size), padding)
                for size, padding in (((9, 7), (1, 1)), ((12, 5), (2, 0)))
            )
        except (AttributeError, RuntimeError, TypeError):  # another torch, or another processor
            return False


def _agree(layer: nn.Conv2d, weight: Tensor, maps: Tensor, padding: tuple[int, int]) -> bool:
    found = convolve_packed(layer, weight, maps, padding)
    truth = F.relu(F.conv2d(maps, layer.weight, layer.bias, padding=padding))
    near = _NEAR[weight.dtype] * truth.max()
    return found.shape == truth.shape and bool((found - truth).abs().max() <= near)
