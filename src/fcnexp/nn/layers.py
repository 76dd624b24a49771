"""Caffe's local response normalisation, and first-layer filters for non-RGB inputs."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fcnexp.nn.fast.switches import enabled


class LocalResponseNorm(nn.Module):
    """Division of each activation by a power of its channel neighbourhood's energy.

    `x / (1 + alpha / size * sum of x^2 over size channels) ** 0.75`, (N, C, H, W) to the same.
    Source: nets.yaml (norm1, norm2): size 5, alpha 1e-4, beta 0.75, k 1, across channels.
    """

    mixed_sizes = True

    def __init__(self, size: int = 5, alpha: float = 1e-4) -> None:
        super().__init__()
        if size % 2 == 0:
            raise ValueError(f"size={size}: must be odd, so that a channel is in the middle")
        self.size, self.alpha = size, alpha

    def forward(self, maps: Tensor) -> Tensor:
        """Return the normalised maps, (N, C, H, W) to (N, C, H, W)."""
        if not enabled("norm"):
            out = F.local_response_norm(_exact(maps), self.size, self.alpha, beta=0.75, k=1)
            return out.to(maps.dtype)
        if torch.compiler.is_exporting():  # a graph cannot hold a custom backward pass
            return _normalised(maps, self.size, self.alpha)[0]
        return _Normalisation.apply(maps, self.size, self.alpha)


class _Normalisation(torch.autograd.Function):
    """Response normalisation with a hand-written backward pass that saves only two maps.

    PyTorch's version averages over a 5-D view and calls `pow`, which takes 6 to 9 times as long.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, size: int, alpha: float) -> Tensor:
        out, root = _normalised(maps, size, alpha)
        ctx.save_for_backward(maps, root)
        ctx.size, ctx.alpha = size, alpha
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return g d^-b - 2 a b / n x sum(g x d^(-b - 1)), d the energies and g the gradient."""
        maps, root = ctx.saved_tensors
        scale = root * root.sqrt()  # d ** -0.75
        correction = (gradient * scale).mul_(maps).mul_(root).mul_(root)
        correction = _neighbours(correction, ctx.size).mul_(maps).mul_(-1.5 * ctx.alpha / ctx.size)
        return correction.addcmul_(scale, gradient).to(maps.dtype), None, None


def _normalised(maps: Tensor, size: int, alpha: float) -> tuple[Tensor, Tensor]:
    """Return the normalised maps, and d ** -0.5 for the formula's energies d."""
    exact = _exact(maps)
    root = _neighbours(exact * exact, size).mul_(alpha / size).add_(1).rsqrt_()
    return (root.sqrt() * root).mul_(exact).to(maps.dtype), root


def _exact(maps: Tensor) -> Tensor:
    """Return maps whose squares can be added: float32 instead of 16 bits.

    In bfloat16 every addition would round to 8 bits; float16 holds no square of more than 255.
    """
    return maps.float() if maps.dtype in (torch.bfloat16, torch.float16) else maps


def _neighbours(maps: Tensor, size: int) -> Tensor:
    """Sum over the `size` channels around each one, (N, C, H, W) to (N, C, H, W)."""
    total = maps.clone()
    for shift in range(1, min(size // 2, maps.shape[1] - 1) + 1):
        total[:, shift:].add_(maps[:, :-shift])
        total[:, :-shift].add_(maps[:, shift:])
    return total


def widen(filters: np.ndarray, channels: int) -> np.ndarray:
    """Return first-layer filters (O, 3, kh, kw) adapted to another number of input channels.

    Each group of three channels gets the colour filters; each remaining channel gets their mean:
    (B, G, R, depth) as in nyud-fcn32s-color-d, or depth alone.
    """
    mean = filters.mean(axis=1, keepdims=True)
    return np.concatenate([filters] * (channels // 3) + [mean] * (channels % 3), axis=1)
