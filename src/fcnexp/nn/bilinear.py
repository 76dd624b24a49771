"""Bilinear interpolation: as a transposed convolution's kernel, and as shares of cells."""

import torch
from torch import Tensor


def bilinear_kernel(size: int) -> Tensor:
    """Bilinear interpolation as a transposed convolution's kernel, (size, size), peak 1.

    Source: sec. 3.3; the reference release's `surgery.py` fills the same values.
    """
    factor = (size + 1) // 2
    ramp = 1 - (torch.arange(size) - (size - 1) / 2).abs() / factor
    return torch.outer(ramp, ramp)


def diagonal(kernel: Tensor, num_classes: int) -> Tensor:
    """A kernel (k, k) that each class has for itself, dense over classes: (K, K, k, k)."""
    dense = torch.zeros(num_classes, num_classes, *kernel.shape)
    dense[range(num_classes), range(num_classes)] = kernel
    return dense


def linear_shares(places: Tensor, cells: int) -> Tensor:
    """Shares of cells 0, 1 ... in what lies at these places between them, (places, cells)."""
    cell = torch.arange(cells, device=places.device, dtype=places.dtype)
    return (1 - (places[:, None] - cell).abs()).clamp(min=0)
