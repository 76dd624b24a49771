from math import ceil

import numpy as np
import pytest
import torch

from fcnexp.nn import layers
from fcnexp.nn.fast.switches import plain
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
    norm = LocalResponseNorm().double()(maps)
    for c in range(7):
        energy = (maps[:, max(0, c - 2) : c + 3] ** 2).sum(1)
        torch.testing.assert_close(norm[:, c], maps[:, c] / (1 + 1e-4 / 5 * energy) ** 0.75)


def test_response_norm_equals_torchs():
    maps = torch.randn(2, 64, 5, 5) * 100
    expected = torch.nn.functional.local_response_norm(maps, 5, alpha=1e-4, beta=0.75, k=1)
    torch.testing.assert_close(LocalResponseNorm()(maps), expected)


def normed(maps: torch.Tensor, *disabled: str) -> list[torch.Tensor]:
    """Return normalised maps and their gradient, without these fast paths."""
    maps = maps.clone().requires_grad_()
    weights = torch.linspace(-1, 2, maps.numel()).to(maps).reshape(maps.shape)
    with plain(disabled):
        out = LocalResponseNorm()(maps)
    (out * weights).sum().backward()
    return [out.detach(), maps.grad]


@pytest.mark.parametrize("channels", [1, 2, 4, 7, 64])  # includes fewer than the window's 5
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_response_norm_and_its_gradient_equal_torchs(channels, layout):
    maps = 100 * torch.randn(2, channels, 3, 5, dtype=torch.float64).contiguous(
        memory_format=layout
    )
    for found, expected in zip(normed(maps), normed(maps, "norm"), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("values", [1, 80, 200, 10**6])  # per block: one row, or two, four, all
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_response_norm_is_the_same_in_blocks_of_any_size(values, layout, monkeypatch):
    """Also the last block, which may have fewer rows."""
    monkeypatch.setattr(layers, "BLOCK", values)
    maps = 100 * torch.randn(2, 8, 7, 5, dtype=torch.float64).contiguous(memory_format=layout)
    for found, expected in zip(normed(maps), normed(maps, "norm"), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_response_norm_sums_squares_in_float32():
    """For bfloat16 maps the result equals the float64 one up to a single rounding."""
    maps = (100 * torch.randn(1, 16, 8, 8)).bfloat16()
    out, gradient = normed(maps)
    exact, slope = normed(maps.double())
    assert out.dtype == gradient.dtype == torch.bfloat16
    torch.testing.assert_close(out.double(), exact, rtol=2**-8, atol=0)
    torch.testing.assert_close(gradient.double(), slope, rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("disabled", [[], ["norm"]])
def test_response_norm_of_large_float16_values_does_not_overflow(disabled):
    """Squares of more than 255 are beyond float16, so they are taken in float32."""
    maps = (20000 * torch.randn(1, 16, 8, 8)).clamp(-65504, 65504).half()
    maps[0, 3, 2, 2] = 65504
    out, gradient = normed(maps, *disabled)
    exact, slope = normed(maps.double())
    assert out.dtype == gradient.dtype == torch.float16
    torch.testing.assert_close(out.double(), exact, rtol=2**-11, atol=2**-24)
    torch.testing.assert_close(gradient.double(), slope, rtol=2**-10, atol=2**-16)


@pytest.mark.slow  # seconds to import the compiler
def test_response_norm_compiles_to_the_same():
    maps = torch.randn(1, 8, 4, 4, dtype=torch.float64) * 100
    compiled = torch.compile(LocalResponseNorm(), backend="aot_eager", fullgraph=True)
    found = maps.clone().requires_grad_()
    out = compiled(found)
    out.sum().backward()
    plain_maps = maps.clone().requires_grad_()
    LocalResponseNorm()(plain_maps).sum().backward()
    torch.testing.assert_close(out.detach(), LocalResponseNorm()(maps))
    torch.testing.assert_close(found.grad, plain_maps.grad)


def test_response_normalisation_needs_a_channel_in_the_middle():
    with pytest.raises(ValueError, match="size=4: must be odd"):
        LocalResponseNorm(4)
