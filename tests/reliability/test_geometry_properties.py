"""Positions and numbers of cells, compared with chains of real layers along one axis."""

from itertools import product
from math import ceil

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume
from hypothesis import strategies as st
from properties import holds

from fcnexp.nn.dense.upsampling import Upsampling
from fcnexp.nn.geometry import IMAGE, Grid, bilinear_kernel_size
from fcnexp.nn.inspection.arithmetic import PADDINGS, Layer, padding_of
from fcnexp.nn.pooling import MaxPool

SIDE = 500  # pixels along the axis: more than any receptive field here
NUMBERS = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2))
STEPS = st.tuples(st.sampled_from(["conv", "pool"]), NUMBERS).filter(
    lambda step: step[0] == "conv" or step[1][2] <= step[1][0] // 2  # torch limits it for pools
)
CHAINS = st.lists(STEPS, min_size=1, max_size=4)
GRIDS = st.builds(Grid, st.sampled_from([1.0, 2.0, 4.0, 8.0]), st.integers(-40, 40).map(float))
WINDOWS = st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(0, 6))


def mean_of_windows(signal: torch.Tensor, step) -> torch.Tensor:
    """Apply one layer of a chain; its cells are the means of their windows."""
    kind, (kernel, stride, pad) = step
    if kind == "pool":
        return F.avg_pool1d(signal, kernel, stride, pad)
    weight = torch.full((1, 1, kernel), 1 / kernel, dtype=torch.double)
    return F.conv1d(signal, weight, stride=stride, padding=pad)


def through(signal: torch.Tensor, chain) -> torch.Tensor:
    for step in chain:
        signal = mean_of_windows(signal, step)
    return signal


def grid_after(chain, grid: Grid = IMAGE) -> Grid:
    for _, numbers in chain:
        grid = grid.conv(*numbers)
    return grid


def ramp(size: int = SIDE) -> torch.Tensor:
    """Signal whose values are the pixels' coordinates."""
    return torch.arange(size, dtype=torch.double)[None, None]


@holds(100, CHAINS)
def test_receptive_field_is_centred_at_the_grid_position(chain):
    image = torch.zeros(1, 1, SIDE, dtype=torch.double, requires_grad=True)
    cells, grid = through(image, chain)[0, 0], grid_after(chain)
    side, step = 1, 1
    for _, (kernel, stride, _pad) in chain:
        side, step = side + (kernel - 1) * step, step * stride
    cell = round((SIDE / 2 - grid.origin) / grid.step)
    (gradient,) = torch.autograd.grad(cells[cell], image)
    seen = gradient[0, 0].nonzero()[:, 0].tolist()
    assert (seen[0] + seen[-1]) / 2 == grid.origin + grid.step * cell
    if all(kernel >= stride for _, (kernel, stride, _) in chain):  # windows leave no gaps
        assert seen[-1] - seen[0] + 1 == side == len(seen)


@holds(100, CHAINS)
def test_cells_of_a_ramp_equal_their_positions(chain):
    cells, inside = through(ramp(), chain)[0, 0], through(torch.ones_like(ramp()), chain)[0, 0]
    grid = grid_after(chain)
    places = grid.origin + grid.step * torch.arange(len(cells)).double()
    whole = inside > 1 - 1e-9  # without padding
    assert whole.any()
    assert (cells[whole] - places[whole]).abs().max() < 1e-8


@holds(80, st.integers(0, 20), st.lists(NUMBERS, min_size=1, max_size=3))
def test_transposed_convolutions_keep_the_centre_of_a_cells_output(cell, numbers):
    signal, grid = torch.zeros(1, 1, 21, dtype=torch.double), Grid(64.0, 3.0)
    signal[0, 0, cell] = 1
    place = grid.origin + grid.step * cell
    for kernel, stride, pad in numbers:
        cut = min(pad, kernel // 2)
        weight = torch.ones(1, 1, kernel, dtype=torch.double)
        full = F.conv_transpose1d(signal, weight, stride=stride)
        signal, grid = full[..., cut : full.shape[-1] - cut], grid.deconv(kernel, stride, cut)
    assume(signal.sum() > 0.99 * torch.tensor([k for k, _, _ in numbers]).prod())  # uncropped
    places = grid.origin + grid.step * torch.arange(signal.shape[-1]).double()
    middle = (signal[0, 0] * places).sum() / signal.sum()
    assert float(middle) == pytest.approx(place, abs=1e-9)


@holds(150, GRIDS, WINDOWS, st.integers(-20, 20), st.integers(-20, 20))
def test_algebra_of_grids(grid, window, offset, other):
    there = grid.conv(*window)
    for back in (there.deconv(*window), grid.deconv(*window).conv(*window)):
        assert back == pytest.approx(grid)
    assert grid.conv(1) == grid.deconv(1, 1) == grid.crop(0) == grid
    assert grid.crop(offset).crop(other) == grid.crop(offset + other)
    assert grid.offset_to(grid.crop(offset)) == offset == -grid.crop(offset).offset_to(grid)
    assert there.crop(offset) == grid.crop(window[1] * offset).conv(*window)


@holds(80, CHAINS, st.integers(2, 8), st.integers(1, 9))
def test_derived_crop_puts_every_upsampled_cell_on_its_pixel(chain, factor, kernel):
    """A coarse ramp of positions, upsampled and cropped, is the finer map's ramp."""
    grid = grid_after(chain)
    coarse = grid.conv(kernel, factor)
    try:
        bilinear_kernel_size(coarse, factor, grid)
    except ValueError:  # for either parity, half a cell of offset remains
        assert not coarse.deconv(2 * factor, factor).offset_to(grid).is_integer()
        assume(False)
    upsampling = Upsampling(1, coarse, factor, grid, edges="zeros", learned=False).double()
    first = ceil((kernel - 1) / 2)
    cells, size = 6, 5 * factor - 1  # between the first and the last centre
    places = (coarse.origin + coarse.step * torch.arange(cells)).double()
    dense = upsampling(places.expand(1, 1, cells, cells), (first, first), (size, size))[0, 0]
    fine = grid.origin + grid.step * (first + torch.arange(size)).double()
    assert (dense - fine).abs().max() < 1e-4 * coarse.step


@holds(150, st.integers(1, 40), st.integers(1, 7), st.integers(1, 5), st.integers(0, 6))
def test_sizes_and_sources_equal_those_of_torchs_layers(cells, kernel, stride, pad):
    signal = torch.zeros(1, 1, cells, requires_grad=True)
    weight = torch.ones(1, 1, kernel)
    for kind, run in (("conv", F.conv1d), ("transposed", F.conv_transpose1d)):
        try:
            layer = Layer(kind, cells, kernel, stride, pad)
        except ValueError:
            with pytest.raises(RuntimeError):
                run(signal, weight, stride=stride, padding=pad)
            continue
        out = run(signal, weight, stride=stride, padding=pad)[0, 0]
        assert len(out) == layer.out == len(layer.sources)
        assert layer.formula.endswith(f" = {layer.out}")
        worked_out = layer.formula.split(" = ")[2].replace("floor(", "(").replace("/", "//")
        assert eval(worked_out) == layer.out  # our own formula, of integers
        for cell in {0, len(out) // 2, len(out) - 1}:
            (gradient,) = torch.autograd.grad(out[cell], signal, retain_graph=True)
            assert gradient[0, 0].nonzero()[:, 0].tolist() == layer.sources[cell]


def test_every_small_layer_has_torchs_size():
    numbers = product(range(1, 15), range(1, 8), range(1, 6), range(7))
    for cells, kernel, stride, pad in numbers:
        signal, weight = (torch.empty(1, 1, n, device="meta") for n in (cells, kernel))
        for kind, run in (("conv", F.conv1d), ("transposed", F.conv_transpose1d)):
            try:
                out = Layer(kind, cells, kernel, stride, pad).out
            except ValueError:
                continue
            assert run(signal, weight, stride=stride, padding=pad).shape[-1] == out


@holds(80, st.integers(1, 30), st.integers(1, 5), st.integers(1, 4))
def test_unpooled_size_pools_to_the_original(cells, kernel, stride):
    out = Layer("unpooling", cells, kernel, stride).out
    for larger in range(stride):
        assert F.max_pool1d(torch.zeros(1, 1, out + larger), kernel, stride).shape[-1] == cells
    assert out == kernel or F.max_pool1d(torch.zeros(1, 1, out - 1), kernel, stride).shape[-1] < (
        cells
    )


@holds(60, st.integers(1, 25), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2))
def test_max_pool_covers_every_pixel_with_correct_maxima(side, kernel, stride, pad):
    pad = min(pad, kernel // 2)
    values = torch.randperm(side, generator=torch.Generator().manual_seed(side)).double()
    pooled = MaxPool(kernel, stride, pad)(values.expand(1, 1, side, side))[0, 0, 0]
    cells = max(1, -((side + 2 * pad - kernel) // -stride) + 1)
    if (cells - 1) * stride >= side + pad:  # no window starts beyond the image
        cells -= 1
    windows = [values[max(0, i * stride - pad) : i * stride - pad + kernel] for i in range(cells)]
    assert pooled.tolist() == [float(window.max()) for window in windows]


@holds(60, st.integers(1, 30), st.sampled_from(PADDINGS), st.integers(0, 5))
def test_named_paddings_keep_shrink_and_grow(cells, mode, half):
    kernel = 2 * half + 1
    pad = padding_of(mode, kernel)
    change = {"valid": 1 - kernel, "same": 0, "full": kernel - 1}[mode]
    assume(cells + change > 0)
    assert Layer("conv", cells, kernel, 1, pad).out == cells + change
