"""Response normalisation as in Caffe, and filters for inputs other than colour."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LocalResponseNorm(nn.Module):
    """Each activation over a power of its channel neighbourhood's energy.

    `x / (1 + alpha / size * sum of x^2 over `size` channels) ** 0.75`, (N, C, H, W) to the same.
    The power is taken by square roots and the sum by a banded 1x1 convolution: many times faster
    on a CPU than torch's own, which averages over a 5-D view and calls `pow`.
    Source: nets.yaml (norm1, norm2): size 5, alpha 1e-4, beta 0.75, k 1, across channels.
    """

    def __init__(self, channels: int, size: int = 5, alpha: float = 1e-4) -> None:
        super().__init__()
        self.size = size
        reach = size // 2
        distance = (torch.arange(channels)[:, None] - torch.arange(channels)[None]).abs()
        band = (distance <= reach).float() * (alpha / size)
        self.register_buffer("band", band[:, :, None, None], persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the normalised maps, (N, C, H, W) to (N, C, H, W)."""
        band: Tensor = self.band  # type: ignore[assignment]  # a buffer
        energy = F.conv2d(maps * maps, band.to(maps.dtype))
        root = energy.add_(
            1
        ).rsqrt_()  # d ** -0.5; in place, since large maps cost time to allocate
        return (maps * root).mul_(root.sqrt())  # d ** -0.75


def widen(filters: np.ndarray, channels: int) -> np.ndarray:
    """First-layer filters (O, 3, kh, kw) for another number of input channels.

    Each three of them get the colour filters, those left over the mean of the three: (B, G, R,
    depth) as in nyud-fcn32s-color-d, or depth alone.
    """
    mean = filters.mean(axis=1, keepdims=True)
    return np.concatenate([filters] * (channels // 3) + [mean] * (channels % 3), axis=1)
