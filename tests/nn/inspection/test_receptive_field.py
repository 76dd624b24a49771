"""Receptive fields: positions and sizes in the original nets, and no gradient beyond them."""

import pytest
import torch

from fcnexp import build
from fcnexp.config.compose import compose_run
from fcnexp.nn.inspection.receptive_field import FRACTION, effective_side, receptive_fields

VGG = ["pool3", "pool4", "pool5", "fc7"]


def on_meta(*overrides: str, at=(176, 250), size=(352, 500)):
    cfg = compose_run(["data=voc", *overrides])
    net, inputs = build.on_meta(cfg, {"class": 21}, size)
    return receptive_fields(net, inputs, at, measured=False)


def test_positions_and_receptive_fields_of_vgg_are_the_releases():
    """The first cell is at -99 because of the pad of 100; each pooling adds half a cell."""
    fields = on_meta("model=fcn8s", "backbone=vgg16")
    assert [(f.name, f.step, f.side) for f in fields] == [
        *(("pool3", 8, 44), ("pool4", 16, 100), ("pool5", 32, 212), ("fc7", 32, 404)),
    ]
    origins = [-95.5, -91.5, -83.5, 12.5]
    for each, origin in zip(fields, origins, strict=True):
        for place, near in zip(each.centre, (176, 250), strict=True):
            assert (place - origin) % each.step == 0 and abs(place - near) <= each.step / 2
    assert all(each.gradient is None and each.effective_side is None for each in fields)


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (["backbone=googlenet"], [f"inception_{b}/output" for b in ("3b", "4e", "5b")]),
        (["backbone=alexnet", "model=fcn32s"], ["norm1", "conv5", "pool5", "fc7"]),
        (["backbone=resnet18"], ["sum4", "sum6", "sum8"]),
        (["backbone=vgg16_bn", "model=deconvnet", "modality=rgb_deconvnet"], VGG),
        (["backbone=vgg16", "model=fcn32s", "dense=shift_and_stitch"], VGG),
        (["backbone=vgg16", "modality=rgb_hha"], [f"{name}color" for name in VGG]),
    ],
)
def test_maps_are_the_taps_and_the_features_of_any_net(overrides, names):
    assert [field.name for field in on_meta(*overrides)] == names


@pytest.mark.parametrize("at", [(0, 0), (40, 70), (95, 95)])
def test_gradient_stays_within_the_receptive_field_and_extends_far_into_it(at):
    cfg = compose_run(["data=voc", "backbone=tiny", "backbone.widths=[4,4,6,6,8,8]", "model=fcn8s"])
    net, _ = build.build_net(cfg, {"class": 21})
    build.first_weights(cfg, net)
    inputs = {"rgb": torch.randn(1, 3, 96, 96)}
    for field in receptive_fields(net.eval(), inputs, at, measured=True):
        rows, columns = (torch.arange(96.0) - centre for centre in field.centre)
        away = torch.maximum(rows.abs()[:, None], columns.abs())
        assert not field.gradient[away > field.side / 2].any()
        assert field.gradient.sum() == pytest.approx(1, abs=1e-5)
        furthest = away[field.gradient > 0].max()
        assert furthest >= 0.5 * min(field.side / 2, away.max())
        assert field.effective_side <= field.side


def test_effective_side_is_the_smallest_that_contains_the_fraction():
    gradient = torch.rand(31, 40) ** 4
    gradient /= gradient.sum()
    found = effective_side(gradient, (12.0, 20.0))

    def inside(side: int) -> float:
        half = side // 2
        total = gradient[max(0, 12 - half) : 13 + half, max(0, 20 - half) : 21 + half].sum()
        return float(total)

    assert found % 2 == 1 and inside(found) >= FRACTION > inside(found - 2)
