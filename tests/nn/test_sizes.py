"""Scores have the image's size for any image, and peak at the position of their cause."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from fcnexp import build
from fcnexp.config.compose import compose_run
from fcnexp.nn.fast.switches import plain
from fcnexp.nn.streams import Network

BACKBONES = ("alexnet", "vgg16", "googlenet", "resnet18", "tiny")
MODELS = ("fcn32s", "fcn16s", "fcn8s")
NETS = list(itertools.product(BACKBONES, MODELS))


def sizes() -> list[tuple[int, int]]:
    """Return each length from 1 to 96 for one side, and 60 random sizes up to 700."""
    rng = np.random.default_rng(0)
    other = rng.integers(1, 97, 96).tolist()
    one_side = [(n, other[n - 1]) if n % 2 else (other[n - 1], n) for n in range(1, 97)]
    return one_side + [(int(h), int(w)) for h, w in rng.integers(1, 701, (60, 2))]


# FCN-16s, whose crops are among FCN-8s's, is covered by test_nets.py.
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("model", ["fcn32s", "fcn8s"])
def test_every_size_gives_scores_of_that_size(backbone, model):
    with torch.device("meta"):
        cfg = compose_run([f"backbone={backbone}", f"model={model}"])
        net = build.build_net(cfg, {"class": 3})[0].eval()
        for size in sizes():
            assert net({"rgb": torch.zeros(1, 3, *size)}).shape == (1, 3, *size)


def make_positive(net: Network) -> None:
    """Set random positive weights, with the largest in the middle of each kernel.

    With constant kernels, all 49 cells of a 7x7 window would count equally and blur the peak.
    """
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            out, fan_in, height, width = module.weight.shape
            hill = torch.outer(_hill(height), _hill(width))
            mix = torch.rand(out, fan_in, 1, 1, generator=generator) + 0.1
            module.weight.data = mix * hill / (mix.sum(1, keepdim=True) * hill.sum())
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _hill(size: int) -> torch.Tensor:
    """Return weights that fall off symmetrically, also for an even size."""
    return 0.5 ** (torch.arange(size) - (size - 1) / 2).abs()


def mean_pool(maps, kernel_size, stride=None, padding=0, *_, ceil_mode=False, **__):
    return torch.nn.functional.avg_pool2d(maps, kernel_size, stride, padding, ceil_mode)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_cells_lie_where_their_grid_says(backbone, monkeypatch):
    """Independent of `Grid`: a cell is centred on the pixels with a non-zero gradient."""
    monkeypatch.setattr(torch.nn.functional, "max_pool2d", mean_pool)  # for gradients everywhere
    channels = ["head.channels=2", "head=fc"]
    net = build.build_net(compose_run([f"backbone={backbone}", *channels]), {"class": 1})[0].eval()
    make_positive(net)  # no gradients cancel out, so float32 is precise enough
    scorer = net.scorers()["rgb"]
    height = {"googlenet": 1060, "resnet18": 760, "tiny": 760}.get(
        backbone, 500
    )  # more than the largest receptive field
    image = torch.rand(1, 3, height, 35, requires_grad=True)
    with plain(["winograd"]):  # rounding would leak within a tile
        taps = scorer.backbone(image)
    maps = [(taps[stride], tap.grid) for stride, tap in scorer.backbone.taps.items() if stride > 4]
    for each, grid in [*maps, (scorer.head(taps[max(taps)]), scorer.head.grid)]:
        cell = each.shape[2] // 2
        column = each[0, :, cell].sum()
        (moved,) = torch.autograd.grad(column, image, retain_graph=True)
        rows = moved.abs().sum((0, 1, 3)).nonzero().flatten()
        assert (rows.min() + rows.max()) / 2 == grid.origin + grid.step * cell


@pytest.mark.parametrize(("backbone", "model"), NETS)
def test_a_bright_dot_is_scored_where_it_is(backbone, model):
    """The dot is centred on a cell of the coarsest map: 1 pixel wide, or 2 if between pixels."""
    narrow = [] if backbone in ("tiny", "googlenet", "resnet18") else ["head.channels=8"]
    cfg = compose_run([f"backbone={backbone}", f"model={model}", *narrow])
    net = build.build_net(cfg, {"class": 2})[0].eval()
    make_positive(net)
    net.double()
    grid = net.scorers()["rgb"].head.grid
    place = grid.origin + grid.step * round((66 - grid.origin) / grid.step)
    image = torch.zeros(1, 3, 131, 134, dtype=torch.float64)
    low, high = int(np.floor(place)), int(np.ceil(place))
    image[..., low : high + 1, low : high + 1] = 1000
    with torch.inference_mode():
        scores = net({"rgb": image})[0, 0]
    peak = (scores >= scores.max() * (1 - 1e-12)).nonzero().double().mean(0)  # ties
    assert (peak - place).abs().max() <= 0.5, (peak, place)
