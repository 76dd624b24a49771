"""What a cell sees: places and sizes of the original nets, and that nothing beyond is seen."""

import pytest
import torch

from fcnexp import build
from fcnexp.config.compose import compose_run
from fcnexp.nn.inspection.receptive_field import SHARE, reach_of, sights

VGG = ["pool3", "pool4", "pool5", "fc7"]


def on_meta(*overrides: str, at=(176, 250), size=(352, 500)):
    cfg = compose_run(["data=voc", *overrides])
    net, inputs = build.on_meta(cfg, {"class": 21}, size)
    return sights(net, inputs, at, measured=False)


def test_cells_of_vgg_lie_and_see_as_in_the_release():
    """The first cell is at -99, for the pad of 100, and half a cell further for each pooling."""
    seen = on_meta("model=fcn8s", "backbone=vgg16")
    assert [(s.name, s.step, s.side) for s in seen] == [
        *(("pool3", 8, 44), ("pool4", 16, 100), ("pool5", 32, 212), ("fc7", 32, 404)),
    ]
    origins = [-95.5, -91.5, -83.5, 12.5]
    for each, origin in zip(seen, origins, strict=True):
        for place, near in zip(each.centre, (176, 250), strict=True):
            assert (place - origin) % each.step == 0 and abs(place - near) <= each.step / 2
    assert all(each.gradient is None and each.reach is None for each in seen)


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
    seen = on_meta(*overrides)
    assert [s.name for s in seen] == names


@pytest.mark.parametrize("at", [(0, 0), (40, 70), (95, 95)])
def test_gradient_ends_at_the_square_and_nearly_reaches_it(at):
    cfg = compose_run(["data=voc", "backbone=tiny", "backbone.widths=[4,4,6,6,8,8]", "model=fcn8s"])
    net, _ = build.build_net(cfg, {"class": 21})
    build.first_weights(cfg, net)
    inputs = {"rgb": torch.randn(1, 3, 96, 96)}
    for seen in sights(net.eval(), inputs, at, measured=True):
        rows, columns = (torch.arange(96.0) - centre for centre in seen.centre)
        away = torch.maximum(rows.abs()[:, None], columns.abs())
        assert not seen.gradient[away > seen.side / 2].any()
        assert seen.gradient.sum() == pytest.approx(1, abs=1e-5)
        seen_away = away[seen.gradient > 0].max()
        assert seen_away >= 0.5 * min(seen.side / 2, away.max())
        assert seen.reach <= seen.side


def test_reach_holds_the_share_and_one_pixel_less_does_not():
    gradient = torch.rand(31, 40) ** 4
    gradient /= gradient.sum()
    reach = reach_of(gradient, (12.0, 20.0))

    def inside(side: int) -> float:
        half = side // 2
        total = gradient[max(0, 12 - half) : 13 + half, max(0, 20 - half) : 21 + half].sum()
        return float(total)

    assert reach % 2 == 1 and inside(reach) >= SHARE > inside(reach - 2)
