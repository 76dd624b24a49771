"""A convolution as one product of matrices, where it has many more weights than its maps values.

VGG16's fc6 has 411 MB of weights for a map of 16x16 cells. Laid out with channels last they are a
matrix as they stand, whereas a convolution brings them into blocks first, and its gradients back.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def convolve(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """ReLU of an unpadded convolution of maps (N, C, H, W), channels last, to (N, O, h, w)."""
    seen, (images, height, width) = _seen(maps, weight.shape[-1])
    flat, matrix = seen.reshape(images * height * width, -1), _matrix(weight)
    if flat.dtype == torch.float32 and has_fused():
        # ReLU apart: the operator's own makes 0 of NaN, so that nobody would see a training fail.
        made = torch.ops.mkldnn._linear_pointwise(flat, matrix, bias, "none", [], "")
    else:
        made = F.linear(flat, matrix, bias)
    return made.relu_().view(images, height, width, -1).permute(0, 3, 1, 2)


@cache
def has_fused() -> bool:
    """Whether torch's private product with a bias is there, and agrees with the public one.

    It is faster than the public one, which goes through another library.
    """
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        maps = torch.arange(24.0).view(4, 6) - 12
        weight, bias = torch.arange(30.0).view(5, 6).sin(), torch.arange(5.0).cos()
        try:
            found = torch.ops.mkldnn._linear_pointwise(maps, weight, bias, "none", [], "")
        except (AttributeError, RuntimeError, TypeError):  # another torch, or another processor
            return False
        return bool(torch.allclose(found, F.linear(maps, weight, bias), atol=1e-4))


class Convolution(torch.autograd.Function):
    """An unpadded convolution and ReLU, whose gradients are products of matrices, too."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
        """(N, C, H, W), (O, C, k, k) and (O,) to (N, O, h, w), multiplied and given in `dtype`."""
        maps, matrix = maps.to(dtype), weight.to(dtype)
        with torch.autocast("cpu", enabled=False):
            made = convolve(maps, matrix, bias.to(dtype))
        ctx.save_for_backward(maps, matrix, made)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of maps, weight and bias."""
        maps, weight, made = ctx.saved_tensors
        outputs, channels, side, _ = weight.shape
        grad = (grad * (made > 0)).permute(0, 2, 3, 1)
        flat = grad.reshape(-1, outputs)
        of_maps = of_weight = of_bias = None
        with torch.autocast("cpu", enabled=False):
            if ctx.needs_input_grad[0]:
                parts = torch.mm(flat, _matrix(weight))
                of_maps = _gather(parts.view(*grad.shape[:3], side, side, channels), maps)
            if ctx.needs_input_grad[1]:
                seen = _seen(maps, side)[0].reshape(len(flat), -1)
                of_weight = torch.mm(flat.T, seen).view(outputs, side, side, channels)
                of_weight = of_weight.permute(0, 3, 1, 2)
            if ctx.needs_input_grad[2]:
                of_bias = flat.sum(0)
        return of_maps, of_weight, of_bias, None  # autograd brings them to the inputs' precision


def _seen(maps: Tensor, side: int) -> tuple[Tensor, torch.Size]:
    """What each output sees, (N, h, w, side, side, C), and the first three of these."""
    seen = maps.permute(0, 2, 3, 1).unfold(1, side, 1).unfold(2, side, 1)
    seen = seen.permute(0, 1, 2, 4, 5, 3)
    return seen, seen.shape[:3]


def _gather(parts: Tensor, like: Tensor) -> Tensor:
    """Sum of what the outputs say of each input, (N, h, w, k, k, C) to a map's (N, C, H, W)."""
    height, width, side = parts.shape[1:4]
    total = torch.zeros_like(like, memory_format=torch.channels_last).permute(0, 2, 3, 1)
    for row in range(side):
        for column in range(side):
            total[:, row : row + height, column : column + width] += parts[:, :, :, row, column]
    return total.permute(0, 3, 1, 2)


def _matrix(weight: Tensor) -> Tensor:
    """Weights (O, C, k, k) as (O, k k C), a view where channels come last."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)
