"""Scores before and after each fusion."""

import pytest
import torch

from fcnexp import build
from fcnexp.config.compose import compose_run
from fcnexp.nn.inspection.fusion_stages import fusion_stages

TINY = ("data=voc", "backbone=tiny", "backbone.widths=[4,4,6,6,8,8]")


def made(*overrides: str):
    cfg = compose_run([*TINY, *overrides])
    net, recipe = build.build_net(cfg, {"class": 21})
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    inputs = {name: torch.randn(1, f.channels, 70, 90) for name, f in recipe.fields.items()}
    return net.eval(), inputs


def by_hand(scores: torch.Tensor, grid, row: int, column: int) -> torch.Tensor:
    """Linear interpolation of cells (K, h, w) at one pixel."""
    y, x = (row - grid.origin) / grid.step, (column - grid.origin) / grid.step
    top, left = int(y), int(x)
    dy, dx = y - top, x - left
    upper = (1 - dx) * scores[:, top, left] + dx * scores[:, top, left + 1]
    lower = (1 - dx) * scores[:, top + 1, left] + dx * scores[:, top + 1, left + 1]
    return (1 - dy) * upper + dy * lower


@torch.inference_mode()
@pytest.mark.parametrize("modality", ["rgb", "rgb_hha"])
def test_stages_go_from_the_head_to_the_nets_output(modality):
    net, inputs = made("model=fcn8s", f"modality={modality}")
    found = fusion_stages(net, inputs)
    assert [(s.name, s.step) for s in found] == [("head", 32), ("+ pool4", 16), ("+ pool3", 8)]
    assert torch.equal(found[-1].scores, net(inputs))
    parts = []
    for name, stream in net.scorers().items():
        taps = stream.backbone(inputs[name])
        parts.append(by_hand(stream.head(taps[32])[0], stream.head.grid, 37, 41))
    torch.testing.assert_close(found[0].scores[0, :, 37, 41], sum(parts) / len(parts))


@torch.inference_mode()
def test_second_stage_of_fcn8s_is_fcn16s():
    eight, inputs = made("model=fcn8s")
    sixteen, _ = made("model=fcn16s")
    own = eight.state_dict()
    sixteen.load_state_dict({name: own[name] for name in sixteen.state_dict()})
    inner = (..., slice(20, 50), slice(20, 70))  # borders differ: only the deconvolution fades
    theirs = fusion_stages(sixteen, inputs)[-1].scores[inner]
    torch.testing.assert_close(fusion_stages(eight, inputs)[1].scores[inner], theirs)


@pytest.mark.parametrize("model", ["fcn32s", "fcn_pool4"])
def test_net_without_skips_is_refused(model):
    with pytest.raises(ValueError, match="no skips"):
        fusion_stages(*made(f"model={model}"))
