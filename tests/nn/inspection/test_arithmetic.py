"""Arithmetic of one layer along one axis, compared with torch."""

import re
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from fcnexp.nn.inspection.arithmetic import (
    Layer,
    derivation,
    padding_of,
    padding_table,
)

SHAPES = list(
    product(range(1, 7), range(1, 6), range(1, 5), range(3))
)  # cells, kernel, stride, pad


def torch_output(kind: str, cells: int, kernel: int, stride: int, pad: int) -> torch.Tensor:
    """Output of each input cell on its own, (input cells, output cells)."""
    apply = {"conv": F.conv1d, "transposed": F.conv_transpose1d}[kind]
    try:
        return apply(torch.eye(cells)[:, None], torch.ones(1, 1, kernel), None, stride, pad)[:, 0]
    except RuntimeError:  # no output; for some shapes torch returns an empty one instead
        return torch.zeros(cells, 0)


@pytest.mark.parametrize("kind", ["conv", "transposed"])
def test_small_layers_equal_torchs_and_are_refused_if_torch_has_no_output(kind):
    for shape in SHAPES:
        expected = torch_output(kind, *shape)
        if expected.shape[1] == 0:
            with pytest.raises(ValueError):
                Layer(kind, *shape)
            continue
        layer = Layer(kind, *shape)
        assert layer.out == expected.shape[1], shape
        assert layer.sources == [cell.nonzero().flatten().tolist() for cell in expected.T], shape


def test_unpooling_equals_torchs_max_unpool():
    for cells, kernel, stride, _ in SHAPES:
        layer = Layer("unpooling", cells, kernel, stride)
        for place, windows in enumerate(layer.sources):
            peak = torch.zeros(1, 1, layer.out).index_fill(2, torch.tensor(place), 1)
            pooled, places = F.max_pool1d(peak, kernel, stride, return_indices=True)
            assert pooled.flatten().nonzero().flatten().tolist() == windows
            unpooled = F.max_unpool1d(pooled, places, kernel, stride)
            assert torch.equal(unpooled, peak if windows else 0 * peak)


def test_same_keeps_and_full_grows_the_size():
    for cells, kernel in product(range(1, 7), (1, 3, 5)):
        assert Layer("conv", cells, kernel, pad=padding_of("same", kernel)).out == cells
        assert (
            Layer("conv", cells, kernel, pad=padding_of("full", kernel)).out == cells + kernel - 1
        )
    assert padding_of("valid", 4) == 0


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (
            Layer("transposed", 3, 4, 2),
            "out = (in - 1) * stride + kernel - 2 * pad = (3 - 1) * 2 + 4 - 0 = 8",
        ),
        (
            Layer("transposed", 3, 4, 2, 1),
            "out = (in - 1) * stride + kernel - 2 * pad = (3 - 1) * 2 + 4 - 2 * 1 = 6",
        ),
        (
            Layer("conv", 6, 3, 2, 1),
            "out = floor((in + 2 * pad - kernel) / stride) + 1"
            " = floor((6 + 2 * 1 - 3) / 2) + 1 = 3",
        ),
        (Layer("unpooling", 2, 2, 2), "out = (in - 1) * stride + kernel = (2 - 1) * 2 + 2 = 4"),
    ],
)
def test_formula_is_shown_with_the_layers_numbers(layer, expected):
    assert layer.formula == expected
    assert expected in derivation(layer)


def test_table_has_the_three_paddings():
    assert padding_table(5, 3, 1) == [
        "padding  pad  out",
        "valid      0    3",
        "same       1    5",
        "full       2    7",
    ]
    assert padding_table(3, 4, 1)[1:] == [
        "valid      0    -  (kernel wider than the padded input)",
        "same       -    -  (needs an odd kernel)",
        "full       3    6",
    ]


def test_counts_of_a_long_output_are_shown_as_runs():
    assert "feed each output cell: 1 2 2 2 1" in derivation(Layer("transposed", 4, 2))[2]
    assert derivation(Layer("transposed", 3, 64, 32))[2].endswith(
        ": 1 (32 times), 2 (64 times), 1 (32 times)"
    )


def test_transposed_convolution_equals_the_convolution_in_its_derivation():
    for kernel, stride, pad in product(range(1, 6), range(1, 5), range(3)):
        if pad >= kernel or 3 * stride + kernel <= 2 * pad:
            continue
        signal, weight = torch.rand(1, 1, 4), torch.rand(1, 1, kernel)
        spread = torch.zeros(1, 1, 3 * stride + 1)
        spread[..., ::stride] = signal
        expected = F.conv_transpose1d(signal, weight, stride=stride, padding=pad)
        actual = F.conv1d(spread, weight.flip(-1), padding=kernel - 1 - pad)
        torch.testing.assert_close(actual, expected)
        words = f"pad kernel - 1 - pad = {kernel - 1 - pad} and the kernel mirrored"
        assert words in "\n".join(derivation(Layer("transposed", 4, kernel, stride, pad)))


def test_unpooling_reports_the_sizes_that_pool_to_its_input():
    layer = Layer("unpooling", 3, 2, 3)
    assert any("takes 8 to 10 cells to 3" in line for line in derivation(layer))
    sizes = [n for n in range(2, 20) if F.max_pool1d(torch.zeros(1, n), 2, 3).shape[1] == 3]
    assert sizes == [8, 9, 10]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (("pool", 3, 2), "kind=pool is not one of conv, transposed, unpooling"),
        (("conv", 0, 2), "cells=0 must be at least 1"),
        (("conv", 3, 0), "kernel=0 must be at least 1"),
        (("conv", 3, 2, 0), "stride=0 must be at least 1"),
        (("conv", 3, 2, 1, -1), "pad=-1 must be at least 0"),
        (("unpooling", 3, 2, 2, 1), "pad=1: unpooling undoes a pooling without padding; try pad=0"),
        (
            ("conv", 2, 7, 1, 1),
            "kernel=7, cells=2, pad=1: the window is wider than the padded input, "
            "cells + 2 * pad = 4; try kernel=4 or less, or pad=3 or more",
        ),
        (
            ("transposed", 1, 2, 2, 1),
            "kernel=2, cells=1, pad=1: the pad crops the entire output, "
            "(in - 1) * stride + kernel = 2; try pad=0 or less",
        ),
    ],
)
def test_impossible_layers_are_refused_with_values_to_try(numbers, message):
    with pytest.raises(ValueError) as error:
        Layer(*numbers)
    assert str(error.value) == message


def test_values_suggested_by_errors_work():
    assert Layer("conv", 2, 4, 1, 1).out == 1
    assert Layer("conv", 2, 7, 1, 3).out == 2
    assert Layer("transposed", 1, 2, 2, 0).out == 2


def test_same_refuses_even_kernels_and_unknown_modes():
    with pytest.raises(ValueError, match=r"with kernel=4 it would take .* = 1.5 cells .*kernel=5"):
        padding_of("same", 4)
    with pytest.raises(ValueError, match="padding=half is not one of valid, same, full"):
        padding_of("half", 3)
    with pytest.raises(ValueError, match="kernel=0 must be at least 1"):
        padding_of("full", 0)


@pytest.mark.parametrize("kernel", [2, 3, 5, 64])
def test_example_of_turning_equals_torchs_convolution(kernel):
    plain, turned = derivation(Layer("conv", 2 * kernel, kernel))[3:5]
    numbers = [[int(n) for n in part.split()] for part in re.findall(r"(?<=[a-z] )[\d ]+\b", plain)]
    signal, weights, output = [n for n in numbers if len(n) > 1]
    assert len(weights) == min(kernel, 5) and sum(signal) == 1 and output == weights[::-1]
    one, two = (torch.tensor([[float(n) for n in values]]) for values in (signal, weights))
    assert F.conv1d(one[None], two[None]).flatten().tolist() == output
    stated = [int(n) for n in turned.partition("output ")[2].partition(";")[0].split()]
    assert F.conv1d(one[None], two[None].flip(-1)).flatten().tolist() == stated
    impulse = torch.ones(1, 1, 1)
    assert F.conv_transpose1d(impulse, two[None]).flatten().tolist() == stated


def test_turning_a_kernel_of_one_cell_changes_nothing():
    assert "for kernel 1 that is no difference" in derivation(Layer("conv", 3, 1))[3]
