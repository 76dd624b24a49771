"""Winograd's convolution equals the plain one: values, gradients, and rounding."""

import pytest
import torch
import torch.nn.functional as F

from fcnexp.nn.fast import winograd
from fcnexp.nn.fast.winograd import Convolution, convolve, transform_weights

LAST = torch.channels_last


def made_up(images, channels, height, width, outputs, dtype=torch.float64):
    maps = torch.randn(images, channels, height, width, dtype=dtype)
    weight = torch.randn(outputs, channels, 3, 3, dtype=dtype) * (2 / channels / 9) ** 0.5
    bias = torch.randn(outputs, dtype=dtype)
    tensors = maps.contiguous(memory_format=LAST), weight.contiguous(memory_format=LAST), bias
    return [tensor.requires_grad_() for tensor in tensors]


@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (0, 1), (2, 1)])
@pytest.mark.parametrize("size", [(2, 5, 7, 9, 6), (1, 3, 4, 3, 2), (3, 300, 9, 5, 4)])
def test_values_and_gradients_equal_the_plain_convolutions(size, padding):
    inputs = made_up(*size)
    found, truth = Convolution.apply(*inputs, padding), F.relu(F.conv2d(*inputs, padding=padding))
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-11)
    weights = torch.randn_like(truth)
    gradients = (torch.autograd.grad(x, inputs, weights) for x in (found, truth))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_many_parts_equal_the_plain_convolution(monkeypatch):
    monkeypatch.setattr(winograd, "_TILES", 4)  # parts of rows, and parts of images
    for size in ((3, 2, 30, 9, 2), (5, 2, 6, 6, 2)):
        inputs = made_up(*size)
        found = Convolution.apply(*inputs, (1, 1))
        truth = F.relu(F.conv2d(*inputs, padding=1))
        torch.testing.assert_close(found, truth, rtol=0, atol=1e-12)
        a, b = (torch.autograd.grad(x.sum(), inputs[1])[0] for x in (found, truth))
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_without_relu_and_bias():
    maps, weight, _ = made_up(1, 4, 8, 8, 3)
    found = convolve(maps, transform_weights(weight), None, (1, 1), relu=False)
    torch.testing.assert_close(found, F.conv2d(maps, weight, padding=1), rtol=0, atol=1e-12)


@torch.no_grad()
def test_float32_rounding_is_below_1e_5_of_the_largest_value():
    maps, weight, bias = made_up(1, 512, 32, 32, 64, torch.float32)
    exact = F.conv2d(maps.double().relu(), weight.double(), bias.double(), padding=1)
    found = convolve(maps.relu(), transform_weights(weight), bias, (1, 1), relu=False)
    assert (found - exact).abs().max() < 1e-5 * exact.abs().max()
    assert found.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize(("step", "padding"), [(2, (2, 2)), (3, (0, 4)), (4, (3, 1))])
def test_a_dilated_filter_is_a_plain_one_on_split_maps(step, padding):
    maps, weight, bias = made_up(2, 4, 17, 22, 3)
    truth = F.conv2d(maps, weight, bias, padding=padding, dilation=step)
    parts = winograd.split(maps, step, padding)
    found = winograd.join(F.conv2d(parts, weight, bias), step, tuple(truth.shape[-2:]))
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-12)
