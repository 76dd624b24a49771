from math import ceil

import numpy as np
import pytest
import torch

from fcnexp.nn.layers import LocalResponseNorm
from fcnexp.nn.pooling import MaxPool


def pool_by_loops(maps: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    h, w = (max(1, ceil((size - kernel) / stride) + 1) for size in maps.shape)  # Caffe's rule
    out = np.empty((h, w))
    for i in range(h):
        for j in range(w):
            window = maps[i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            out[i, j] = window.max()
    return out


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 3), (7, 8), (9, 1)])
def test_max_pool_equals_loops(size, kernel):
    maps = torch.randn(2, 3, *size)
    pooled = MaxPool(kernel, 2)(maps)
    for n in range(2):
        for c in range(3):
            expected = pool_by_loops(maps[n, c].numpy(), kernel, 2)
            np.testing.assert_array_equal(pooled[n, c].numpy(), expected)


def test_response_norm_equals_the_formula():
    maps = torch.randn(2, 7, 3, 4, dtype=torch.float64) * 90
    norm = LocalResponseNorm(7).double()(maps)
    for c in range(7):
        energy = (maps[:, max(0, c - 2) : c + 3] ** 2).sum(1)
        torch.testing.assert_close(norm[:, c], maps[:, c] / (1 + 1e-4 / 5 * energy) ** 0.75)


def test_response_norm_equals_torchs():
    maps = torch.randn(2, 64, 5, 5) * 100
    expected = torch.nn.functional.local_response_norm(maps, 5, alpha=1e-4, beta=0.75, k=1)
    torch.testing.assert_close(LocalResponseNorm(64)(maps), expected)
