"""A convolution as one matrix product, for layers with many more weights than map values.

VGG16's fc6 has 411 MB of weights for a map of 16x16 cells. In channels-last order they already are
a matrix, whereas a convolution first reorders them into blocks, and its gradients back.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def convolve(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return ReLU of an unpadded convolution of channels-last maps (N, C, H, W): (N, O, h, w)."""
    windows = _windows(maps, weight.shape[-1])
    images, height, width = windows.shape[:3]
    flat, matrix = windows.reshape(images * height * width, -1), _matrix(weight)
    if flat.dtype == torch.float32 and has_fused():
        # Not with its fused ReLU, which turns NaN into 0 and so would hide a diverged training.
        made = torch.ops.mkldnn._linear_pointwise(flat, matrix, bias, "none", [], "")
    else:
        made = F.linear(flat, matrix, bias)
    return made.relu_().view(images, height, width, -1).permute(0, 3, 1, 2)


@cache
def has_fused() -> bool:
    """Return True if torch's private linear operator exists and agrees with the public one.

    It is faster than the public one, which uses another library.
    """
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        maps = torch.arange(24.0).view(4, 6) - 12
        weight, bias = torch.arange(30.0).view(5, 6).sin(), torch.arange(5.0).cos()
        try:
            found = torch.ops.mkldnn._linear_pointwise(maps, weight, bias, "none", [], "")
        except (AttributeError, RuntimeError, TypeError):  # other torch version or processor
            return False
        return bool(torch.allclose(found, F.linear(maps, weight, bias), atol=1e-4))


class Convolution(torch.autograd.Function):
    """An unpadded convolution and ReLU whose gradients are matrix products, too."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
        """Return (N, O, h, w) in `dtype` for (N, C, H, W), (O, C, k, k) and (O,)."""
        maps, matrix = maps.to(dtype), weight.to(dtype)
        with torch.autocast("cpu", enabled=False):
            made = convolve(maps, matrix, bias.to(dtype))
        ctx.save_for_backward(maps, matrix, made)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of maps, weight and bias."""
        maps, weight, made = ctx.saved_tensors
        outputs, channels, side, _ = weight.shape
        grad = (grad * (made > 0)).permute(0, 2, 3, 1)
        flat = grad.reshape(-1, outputs)
        of_maps = of_weight = of_bias = None
        with torch.autocast("cpu", enabled=False):
            if ctx.needs_input_grad[0]:
                parts = torch.mm(flat, _matrix(weight))
                of_maps = _scatter(parts.view(*grad.shape[:3], side, side, channels), maps)
            if ctx.needs_input_grad[1]:
                windows = _windows(maps, side).reshape(len(flat), -1)
                of_weight = torch.mm(flat.T, windows).view(outputs, side, side, channels)
                of_weight = of_weight.permute(0, 3, 1, 2)
            if ctx.needs_input_grad[2]:
                of_bias = flat.sum(0)
        return of_maps, of_weight, of_bias, None  # autograd casts them to the inputs' dtypes


def _windows(maps: Tensor, side: int) -> Tensor:
    """Return each output's input window, (N, h, w, side, side, C)."""
    windows = maps.permute(0, 2, 3, 1).unfold(1, side, 1).unfold(2, side, 1)
    return windows.permute(0, 1, 2, 4, 5, 3)


def _scatter(parts: Tensor, like: Tensor) -> Tensor:
    """Add each output's gradients of its window, (N, h, w, k, k, C), to a map (N, C, H, W)."""
    height, width, side = parts.shape[1:4]
    total = torch.zeros_like(like, memory_format=torch.channels_last).permute(0, 2, 3, 1)
    for row in range(side):
        for column in range(side):
            total[:, row : row + height, column : column + width] += parts[:, :, :, row, column]
    return total.permute(0, 3, 1, 2)


def _matrix(weight: Tensor) -> Tensor:
    """Return weights (O, C, k, k) as (O, k k C), a view if they are channels last."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)
