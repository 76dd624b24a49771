"""Fused convolution and ReLU on weights stored in the processor's own block order.

A convolution on the CPU reorders its weights into such blocks at every call: 411 MB for VGG16's
fc6. Packing them once saves that. It uses torch's private operators, but only if they exist and
agree with the public ones.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Largest difference from a plain convolution in the trial, relative to its maximum.
_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.02}


def pack(layer: nn.Conv2d, dtype: torch.dtype, size: torch.Size) -> Tensor:
    """Return a layer's weights in blocks. size: of maps, a hint; other sizes run as fast."""
    weight = layer.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
    form = map(list, (layer.padding, layer.stride, layer.dilation))
    reorder = torch.ops.mkldnn._reorder_convolution_weight
    return reorder(weight, *form, layer.groups, list(size))


def convolve_packed(
    layer: nn.Conv2d, weight: Tensor, maps: Tensor, padding: tuple[int, ...]
) -> Tensor:
    """Return ReLU of a layer's convolution of maps (N, C, H, W), in the packed weight's dtype."""
    maps = maps.to(weight.dtype).contiguous(memory_format=torch.channels_last)
    bias = None if layer.bias is None else layer.bias.detach().to(weight.dtype)
    form = map(list, (padding, layer.stride, layer.dilation))
    run = torch.ops.mkldnn._convolution_pointwise
    return run(maps, weight, bias, *form, layer.groups, "relu", [], "")


@cache
def works(dtype: torch.dtype) -> bool:
    """Return True if the private operators exist and agree with the public ones at two sizes."""
    if dtype not in _TOLERANCE or not torch.backends.mkldnn.is_available():
        return False
    with torch.inference_mode(), torch.autocast("cpu", enabled=False), torch.random.fork_rng([]):
        layer = nn.Conv2d(8, 16, 3, padding=1, device="cpu", dtype=torch.float32)
        try:
            weight = pack(layer, dtype, torch.Size((1, 8, 9, 7)))
            return all(
                _agree(layer, weight, torch.randn(2, 8, *size), padding)
                for size, padding in (((9, 7), (1, 1)), ((12, 5), (2, 0)))
            )
        except (AttributeError, RuntimeError, TypeError):  # other torch version or processor
            return False


def _agree(layer: nn.Conv2d, weight: Tensor, maps: Tensor, padding: tuple[int, int]) -> bool:
    found = convolve_packed(layer, weight, maps, padding)
    expected = F.relu(F.conv2d(maps, layer.weight, layer.bias, padding=padding))
    tolerance = _TOLERANCE[weight.dtype] * expected.max()
    return found.shape == expected.shape and bool((found - expected).abs().max() <= tolerance)
