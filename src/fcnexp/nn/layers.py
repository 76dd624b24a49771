"""Caffe's local response normalisation, and first-layer filters for non-RGB inputs."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fcnexp.nn.fast.switches import enabled

BLOCK = 2**17  # values of a map that two cores' caches hold together with what is made of them


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
            return _normalised(maps, self.size, self.alpha).to(maps.dtype)
        return _Normalisation.apply(maps, self.size, self.alpha)


class _Normalisation(torch.autograd.Function):
    """Response normalisation with a hand-written backward pass that saves nothing but its input.

    PyTorch's version averages over a 5-D view and calls `pow`, which takes 6 to 9 times as long.
    A CPU works block by block, so that the dozen maps between input and output stay in its cache.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, size: int, alpha: float) -> Tensor:
        ctx.save_for_backward(maps)
        ctx.size, ctx.alpha = size, alpha
        out = torch.empty_like(maps)
        for block in _blocks(maps):
            out[block] = _normalised(maps[block], size, alpha)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return g d^-b - 2 a b / n x sum(g x d^(-b - 1)), d the energies and g the gradient."""
        (maps,) = ctx.saved_tensors
        out = torch.empty_like(maps)
        for block in _blocks(maps):
            out[block] = _through(gradient[block], maps[block], ctx.size, ctx.alpha)
        return out, None, None


def _normalised(maps: Tensor, size: int, alpha: float) -> Tensor:
    """Return the normalised maps, in float32 if the maps have 16 bits."""
    exact = _exact(maps)
    root = _root(exact, size, alpha)
    return (root.sqrt() * root).mul_(exact)


def _through(gradient: Tensor, maps: Tensor, size: int, alpha: float) -> Tensor:
    """Return the gradient of the maps for that of the normalised maps."""
    exact = _exact(maps)
    root = _root(exact, size, alpha)
    scaled = (root.sqrt() * root).mul_(gradient)  # g d ** -0.75
    correction = (scaled * exact).mul_(root).mul_(root)
    correction = _neighbours(correction, size).mul_(exact)
    return scaled.add_(correction, alpha=-1.5 * alpha / size)


def _root(exact: Tensor, size: int, alpha: float) -> Tensor:
    """Return d ** -0.5 for the formula's energies d."""
    return _neighbours(exact * exact, size).mul_(alpha / size).add_(1).rsqrt_()


def _blocks(maps: Tensor) -> Iterator[tuple[slice, ...]]:
    """Yield the parts of maps (N, C, H, W) to work on in turn: some rows of an image each."""
    if maps.device.type != "cpu" or torch.compiler.is_compiling():
        yield (slice(None),)
        return
    rows = max(1, BLOCK // max(1, maps.shape[1] * maps.shape[3]))
    for image in range(len(maps)):
        for row in range(0, maps.shape[2], rows):
            yield slice(image, image + 1), slice(None), slice(row, row + rows)


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
