"""The trace reports a net's maps as they are computed."""

import itertools

import pytest
import torch

from fcnexp import build
from fcnexp.config.compose import compose_run
from fcnexp.explaining.map_table import derive_crops
from fcnexp.nn.fast.switches import plain
from fcnexp.nn.inspection.trace import trace

BACKBONES = ("alexnet", "vgg16", "googlenet", "resnet18", "tiny")


def maps_of(*overrides: str, size: tuple[int, int] = (500, 500)):
    cfg = compose_run(["data=voc", *overrides])
    net, inputs = build.on_meta(cfg, {"class": 21}, size)
    return net, trace(net, inputs)


@pytest.mark.parametrize(
    ("backbone", "depth", "millions", "field"),
    [("alexnet", 8, 57, 355), ("vgg16", 16, 134, 404), ("googlenet", 22, 6, 907 - 6 * 32)],
)
def test_totals_are_those_of_the_papers_table_1(backbone, depth, millions, field):
    _, maps = maps_of(f"backbone={backbone}", "model=fcn32s")
    score = next(each for each in maps if each.name == "score_fr")
    assert (score.depth, score.receptive_field, score.grid.step) == (depth, field, 32)
    assert round(sum(each.parameters for each in maps) / 1e6) == millions


@pytest.mark.parametrize(
    ("backbone", "model"), list(itertools.product(BACKBONES, ("fcn32s", "fcn16s", "fcn8s")))
)
def test_trace_has_every_parameter_and_ends_at_the_image(backbone, model):
    net, maps = maps_of(f"backbone={backbone}", f"model={model}", size=(65, 97))
    assert sum(each.parameters for each in maps) == sum(p.numel() for p in net.parameters())
    last = maps[-1]
    assert (last.name, last.shape, last.grid) == ("score", (21, 65, 97), (1, 0))
    assert len({each.name for each in maps}) == len(maps)


def mean_pool(maps, kernel_size, stride=None, padding=0, *_, ceil_mode=False, **__):
    return torch.nn.functional.avg_pool2d(maps, kernel_size, stride, padding, ceil_mode)


@pytest.mark.parametrize("backbone", ["googlenet", "resnet18", "vgg16"])
def test_receptive_field_is_the_extent_of_a_scores_gradient(backbone, monkeypatch):
    """With positive weights, so that none cancel, and mean instead of max pooling."""
    monkeypatch.setattr(torch.nn.functional, "max_pool2d", mean_pool)
    narrow = ["head.channels=4", "backbone.pad=1"] if backbone == "vgg16" else []
    cfg = compose_run([f"backbone={backbone}", "model=fcn32s", *narrow])
    net = build.build_net(cfg, {"class": 1})[0].eval().double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_((0.5 + torch.rand(parameter.shape)) / parameter[0].numel())
    image = torch.rand(1, 3, 960, 67, dtype=torch.float64, requires_grad=True)
    with plain(["winograd"]):  # its tiles spread rounding errors, so that nothing is exactly 0
        scores = net.scorers()["rgb"](image)
    scores[0, 0, scores.shape[2] // 2].sum().backward()
    seen = image.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    monkeypatch.undo()
    maps = maps_of(f"backbone={backbone}", "model=fcn32s")[1]
    score = next(each for each in maps if each.name == "score_fr")
    assert seen.max() - seen.min() + 1 == score.receptive_field


def test_multiply_adds_of_vgg16_by_hand():
    _, maps = maps_of("backbone=vgg16", "model=fcn32s", size=(64, 96))
    found = {each.name: each.multiply_adds for each in maps}
    assert found["conv1_2"] == 262 * 294 * 64 * 64 * 9
    assert found["fc6"] == 3 * 4 * 4096 * 512 * 49
    assert found["upscore"] == 3 * 4 * 21 * 64 * 64  # counted within classes only


def test_crops_are_derived_to_the_releases_numbers():
    _, maps = maps_of("backbone=vgg16", "model=fcn8s")
    assert {m.name: m.offset for m in maps if m.kind == "crop"} == {
        **{"score_pool4c": 5, "score_pool3c": 9},
        "score": 31,
    }
    lines = "\n".join(derive_crops(maps))
    assert "conv1_1: 0 + 1 * ((3 - 1) / 2 - 100) = -99" in lines
    assert "fc6: -83.5 + 32 * ((7 - 1) / 2 - 0) = 12.5" in lines
    assert "(0 - (-31)) / 1 = 31, so 31 are cropped" in lines


def test_tracing_leaves_no_hooks():
    net, _ = maps_of("backbone=tiny")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
