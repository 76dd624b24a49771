"""Cells that no pixel needs are not computed, without changing any score."""

import pytest
import torch
from dense_nets import picture, randomise

from fcnexp import build
from fcnexp.build import network
from fcnexp.config.compose import compose_run
from fcnexp.nn.dense.padding import SpareCells
from fcnexp.nn.dense.rarefaction import rarefy
from fcnexp.nn.dense.upsampling import to_pixels
from fcnexp.nn.inspection.trace import trace
from fcnexp.nn.pooling import MaxPool

NETS = {
    "alexnet": ["backbone=alexnet", "head=linear"],
    "alexnet, less padding": ["backbone=alexnet", "head=linear", "backbone.pad=60"],
    "alexnet, fc": ["backbone=alexnet", "head=fc", "head.channels=4"],
    "vgg16": ["backbone=vgg16", "head=linear"],
}
CASES = [(name, stride) for name in list(NETS)[:3] for stride in (8, 16)]


@pytest.mark.parametrize("size", [(1, 1), (33, 20), (38, 41)])
@pytest.mark.parametrize(
    ("name", "stride"), [*CASES, pytest.param("vgg16", 8, marks=pytest.mark.slow)]
)
@torch.inference_mode()
def test_trimming_changes_no_score(name, stride, size):
    """Compared at every pixel, including borders, with a rarefied scorer that is not trimmed."""
    plain = [*NETS[name], "model=fcn32s"]
    net = network([*plain, "dense=rarefaction", f"dense.stride={stride}"])
    net = randomise(net).double().eval()
    whole = rarefy(randomise(network(plain)).double().net.scorer, stride)
    image = picture(*size)
    cells = whole(image)
    upsampling = to_pixels(cells.shape[1], whole, edges="repeat", learned=False)
    expected = upsampling(cells, (0, 0), size)
    torch.testing.assert_close(net({"rgb": image}), expected, rtol=1e-12, atol=1e-12)
    if name == "alexnet":
        assert net.net.scorer(image).shape[-2] <= cells.shape[-2] - 7


def heights(*overrides: str) -> dict[str, int]:
    cfg = compose_run(["data=voc", "model=fcn32s", "dense=rarefaction", *overrides])
    net, inputs = build.on_meta(cfg, {"class": 21}, (224, 224))
    return {each.name: each.shape[1] for each in trace(net, inputs)}


def test_maps_of_vgg16_are_as_small_as_the_pixels_allow():
    """A pixel lies between two cells; each map exceeds that by the reach of the later filters."""
    found = heights("backbone=vgg16", "head=linear")
    reach = {"score_fr": 0, "conv5_3": 16, "conv5_2": 16 + 32, "conv5_1": 16 + 64}
    reach |= {"conv4_3": 16 + 96 + 8, "conv4_2": 136, "conv4_1": 152, "conv3_3": 168 + 4}
    reach |= {"conv3_2": 172 + 8, "conv3_1": 180 + 8}
    assert {name: found[name] - 225 for name in reach} == pytest.approx(reach, abs=6)
    assert found["score_fr"] <= 225 + 6 and found["conv1_1"] == 224 + 198


@pytest.mark.parametrize(
    "overrides",
    [
        ["backbone=vgg16_bn", "head=linear"],  # batch statistics cover all cells
        ["backbone=googlenet", "head=linear"],  # has no unneeded cells
        ["backbone=vgg16", "head=linear", "backbone.pad=1"],
    ],
)
def test_nets_that_cannot_be_trimmed_stay_unchanged(overrides):
    net = network(["model=fcn32s", *overrides, "dense=rarefaction", "dense.stride=8"])
    whole = rarefy(network(["model=fcn32s", *overrides]).net.scorer, 8)
    for mine, theirs in zip(net.net.scorer.modules(), whole.modules(), strict=True):
        for name in ("padding", "pad", "hang"):
            assert getattr(mine, name, None) == getattr(theirs, name, None)
    assert net.net.scorer.grid == whole.grid


def pool(hang: int, dilation: int) -> MaxPool:
    layer = MaxPool(3, 1, hang=hang)
    layer.dilation = dilation
    return layer


@pytest.mark.parametrize(
    "layer",
    [torch.nn.Conv2d(1, 1, 3, padding=4, dilation=4), torch.nn.Conv2d(1, 1, 5), pool(4, 4)],
    ids=["conv", "conv without padding", "pool"],
)
@pytest.mark.parametrize(
    "spare", [SpareCells(5, 6), SpareCells(1, 9), SpareCells(9, 1), SpareCells(0, 0)]
)
def test_spare_cells_before_a_layer_do_not_affect_needed_cells(layer, spare):
    """By gradients: of a rising map for the last cells, of a falling map for the first."""
    rising = torch.arange(30.0).expand(1, 1, 30, 30)
    moved = torch.zeros(30, dtype=torch.bool)
    for maps in (rising, -rising):
        maps = maps.clone().requires_grad_()
        out = layer(maps)
        out[..., spare.lead : out.shape[-1] - spare.trail].sum().backward()
        moved |= maps.grad.abs().sum((0, 1, 2)) > 0
    cells = moved.nonzero().flatten()
    assert spare.before(layer) == (cells[0], 29 - cells[-1])


def test_nets_with_skips_keep_their_padding():
    net = network(["backbone=alexnet", "head=linear", "model=fcn8s", "dense=rarefaction"])
    assert net.net.scorer.backbone.conv1.padding == (100, 100)


def test_grids_of_trimmed_taps_locate_their_cells():
    """Each cell, found by its grid, equals the same cell of the untrimmed net."""
    choice = ["backbone=alexnet", "head=linear", "model=fcn32s", "dense=rarefaction"]
    net = randomise(network([*choice, "dense.stride=8"])).double().eval()
    whole = rarefy(network(choice[:-1]).net.scorer, 8)
    image = picture(30, 30)
    net.net.scorer.backbone.load_state_dict(whole.backbone.state_dict())
    with torch.inference_mode():
        fewer, cells = net.net.scorer.backbone(image), whole.double().backbone(image)
    for stride, tap in net.net.scorer.backbone.taps.items():
        lead = (tap.grid.origin - whole.backbone.taps[stride].grid.origin) / tap.grid.step
        assert lead.is_integer()
        first, count = int(lead), fewer[stride].shape[-1]
        kept = cells[stride][..., first : first + count, first : first + count]
        torch.testing.assert_close(fewer[stride], kept, rtol=1e-12, atol=1e-12)
