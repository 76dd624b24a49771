"""A convolution as a matrix product equals the plain one."""

import pytest
import torch
import torch.nn.functional as F

from fcnexp.nn.fast.matrix import Convolution, convolve


def made_up(dtype):
    tensors = torch.randn(2, 5, 9, 8), torch.randn(7, 5, 3, 3), torch.randn(7)
    return [tensor.to(dtype).requires_grad_() for tensor in tensors]


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_values_and_gradients_equal_the_plain_convolutions(dtype, near):
    inputs = made_up(dtype)
    found, truth = Convolution.apply(*inputs, dtype), F.relu(F.conv2d(*inputs))
    torch.testing.assert_close(found, truth, rtol=0, atol=near)
    weights = torch.randn_like(truth)
    gradients = (torch.autograd.grad(x, inputs, weights) for x in (found, truth))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=10 * near)


def test_bfloat16_gradients_have_the_weights_dtype():
    inputs = made_up(torch.float32)
    found, truth = Convolution.apply(*inputs, torch.bfloat16), F.relu(F.conv2d(*inputs))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), truth, rtol=0, atol=0.2)
    for a, b in zip(*(torch.autograd.grad(x.sum(), inputs) for x in (found, truth)), strict=True):
        assert a.dtype == torch.float32
        assert F.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.999


@torch.inference_mode()
def test_a_1x1_kernel_equals_the_plain_convolution():
    maps, weight, bias = torch.randn(1, 4, 3, 5), torch.randn(6, 4, 1, 1), torch.randn(6)
    truth = F.relu(F.conv2d(maps, weight, bias))
    torch.testing.assert_close(convolve(maps, weight, bias), truth)
