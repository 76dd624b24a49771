import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fcnexp.nn.pooling import MaxPool, Switches, Unpool, largest

SHAPES = [(2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 1, 1), (2, 1, 0)]  # kernel, stride, pad
SIZES = [(6, 8), (7, 9), (3, 4), (12, 5)]


def maps_with_ties(*size: int) -> Tensor:
    return torch.randint(-2, 3, (2, 3, *size)).double()


@pytest.mark.parametrize(("kernel", "stride", "pad"), SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_largest_and_its_positions_equal_torchs(kernel, stride, pad, size):
    """Ties go to the same value as in torch; compared on the windows that torch has."""
    maps = maps_with_ties(*size)
    pooled, places = largest(maps, kernel, stride, pad)
    expected, indices = F.max_pool2d(maps, kernel, stride, pad, ceil_mode=True, return_indices=True)
    h, w = expected.shape[-2:]  # torch drops a window that holds only padding
    assert torch.equal(pooled[..., :h, :w], expected)
    assert torch.equal(places[..., :h, :w], indices)
    assert pooled.shape[-2] - h <= (pad > 0) and pooled.shape[-1] - w <= (pad > 0)


@pytest.mark.parametrize(("kernel", "stride", "pad"), SHAPES[:2])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 3), (7, 8), (9, 1)])
def test_recording_positions_does_not_change_the_maxima(kernel, stride, pad, size):
    maps, switches = maps_with_ties(*size), []
    pool = MaxPool(kernel, stride, pad)
    assert torch.equal(pool(maps, switches), pool(maps))
    assert [found.size for found in switches] == [size]


@pytest.mark.parametrize("size", [(6, 8), (4, 2), (10, 6)])
def test_unpool_equals_torchs_if_windows_do_not_overlap(size):
    maps, switches = maps_with_ties(*size), []
    pool = MaxPool(2, 2)
    pooled = pool(maps, switches)
    expected, indices = F.max_pool2d(maps, 2, 2, return_indices=True)
    expected = F.max_unpool2d(expected, indices, 2, 2, output_size=list(size))
    assert torch.equal(Unpool(pool)(pooled, switches[0]), expected)


def unpool_by_loops(values: Tensor, maps: Tensor, kernel: int, stride: int) -> Tensor:
    """Add each value at the first maximum of its window of the maps."""
    filled = torch.zeros_like(maps)
    for n, c, i, j in torch.cartesian_prod(*(torch.arange(size) for size in values.shape)).tolist():
        top, left = i * stride, j * stride
        window = maps[n, c, top : top + kernel, left : left + kernel]
        row, column = divmod(int(window.flatten().argmax()), window.shape[1])
        filled[n, c, top + row, left + column] += values[n, c, i, j]
    return filled


@pytest.mark.parametrize("size", [(7, 9), (6, 8), (2, 3), (1, 1)])
def test_unpool_adds_up_values_of_overlapping_windows(size):
    maps, switches = maps_with_ties(*size), []
    pool = MaxPool(3, 2)
    values = torch.randn_like(pool(maps, switches))
    expected = unpool_by_loops(values, maps, 3, 2)
    torch.testing.assert_close(Unpool(pool)(values, switches[0]), expected)


@pytest.mark.parametrize("kernel", [2, 3])
def test_gradient_of_unpooling_in_float64(kernel):
    pool, switches = MaxPool(kernel, 2), []
    values = torch.rand_like(pool(torch.rand(2, 2, 5, 6, dtype=torch.float64), switches))
    torch.autograd.gradcheck(lambda x: Unpool(pool)(x, switches[0]), values.requires_grad_())


def test_gradient_of_pooling_with_positions_in_float64():
    maps = torch.randperm(60).double().reshape(1, 2, 5, 6)  # no ties, which have no gradient
    torch.autograd.gradcheck(lambda x: MaxPool(3, 2)(x, []), maps.requires_grad_())


def test_unpool_fills_a_map_of_the_recorded_size():
    found = Switches(torch.tensor([[[[5]]]]), (2, 3))
    filled = Unpool(MaxPool(2, 2))(torch.tensor([[[[7.0]]]]), found)
    assert filled[0, 0].tolist() == [[0, 0, 0], [0, 0, 7]]


@pytest.mark.parametrize(
    ("kernel", "stride", "pad"), [(2, 2, 0), (3, 2, 0), (3, 1, 0), (3, 2, 1), (3, 1, 1)]
)
@pytest.mark.parametrize("dilation", [1, 2, 5])
def test_dense_pooling_by_axes_equals_torchs(kernel, stride, pad, dilation):
    """As in a rarefied net: stride 1, dilated, with padding and overhang scaled alike."""
    pool = MaxPool(kernel, stride, pad, hang=0 if pad else None)
    pool.stride, pool.dilation = 1, dilation
    pool.pad, pool.hang = pool.pad * dilation, pool.hang * dilation
    for size in ((12, 17), (11, 11)):
        maps = torch.randn(2, 3, *size).contiguous(memory_format=torch.channels_last)
        end = pool.pad + pool.hang
        wide = F.pad(maps, (pool.pad, end, pool.pad, end), value=float("-inf"))
        expected = F.max_pool2d(wide, kernel, 1, dilation=dilation)
        assert torch.equal(pool(maps), expected)
        assert torch.equal(pool(maps.clone().requires_grad_()).detach(), expected)
