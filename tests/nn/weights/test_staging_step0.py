"""A new stage starts with its parent's scores, since its own score layer starts at zero."""

import pytest
import torch

from fcnexp import build
from fcnexp.config.compose import compose_run
from fcnexp.errors import WeightsError
from fcnexp.nn.weights.checkpoints import parent_weights
from fcnexp.nn.weights.init import scratch

IMAGE = torch.rand(1, 3, 97, 131, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def pair(backbone: str, parent: str, child: str):
    """A net with nonzero scores, and a child initialised from it; both float64."""
    nets = []
    for model in (parent, child):
        narrow = [] if backbone in ("tiny", "googlenet", "resnet18") else ["head.channels=8"]
        cfg = compose_run([f"backbone={backbone}", f"model={model}", *narrow])
        net, recipe = build.build_net(cfg, {"class": 4})
        scratch(net, recipe)
        nets.append(net.double().eval())
    for layer in nets[0].score_layers():
        torch.nn.init.normal_(layer.weight)
    stored = {f"net.{name}": value for name, value in nets[0].state_dict().items()}
    new = parent_weights(nets[1], {"state_dict": stored}, "parent.ckpt")
    assert list(new) == [
        f"net.scorer.skips.{8 if child == 'fcn8s' else 16}.score.{p}" for p in ("weight", "bias")
    ]
    return nets


@pytest.mark.parametrize("backbone", ["alexnet", "googlenet", "resnet18"])
@pytest.mark.parametrize(("parent", "child"), [("fcn32s", "fcn16s"), ("fcn16s", "fcn8s")])
@torch.inference_mode()
def test_new_stage_starts_with_its_parents_scores(backbone, parent, child):
    """With cells on pixels and odd kernels, upsampling in two steps equals one step."""
    first, second = (net({"rgb": IMAGE}) for net in pair(backbone, parent, child))
    torch.testing.assert_close(second, first, rtol=0, atol=1e-9 * first.abs().max())


@pytest.fixture(scope="module")
def vgg16():
    return pair("vgg16", "fcn32s", "fcn16s")


@pytest.mark.parametrize("backbone", ["vgg16", "tiny"])
@torch.inference_mode()
def test_new_stage_starts_with_its_parents_coarse_scores_upsampled(backbone, vgg16):
    """With even kernels this holds for the upsampled coarse scores, not for the pixels' scores."""
    parent, child = vgg16 if backbone == "vgg16" else pair(backbone, "fcn32s", "fcn16s")
    coarse, fused = (net.scorers()["rgb"](IMAGE) for net in (parent, child))
    skip = child.scorers()["rgb"].skips["16"]
    doubled = skip.upsampling(coarse, (skip.crop, skip.crop), fused.shape[-2:])
    torch.testing.assert_close(fused, doubled, rtol=0, atol=1e-12 * coarse.abs().max())


@torch.inference_mode()
def test_a_child_of_vgg16_differs_from_its_parent_only_near_coarse_cells(vgg16):
    """Two successive linear interpolations on half-pixel cells are not one interpolation.

    At a coarse cell the second one interpolates from a quarter cell before to a quarter cell
    after, and so misses at most a quarter of the kink there; over both axes, half of the range.
    """
    parent, child = (net({"rgb": IMAGE}) for net in vgg16)
    assert not torch.equal(parent, child)
    assert (parent - child).abs().max() < 0.25 * (parent.max() - parent.min())


def test_only_skips_may_be_missing_from_a_parent():
    cfg = compose_run(["backbone=tiny", "model=fcn16s"])
    net = build.build_net(cfg, {"class": 4})[0]
    stored = {f"net.{name}": value for name, value in net.state_dict().items()}
    stored.pop("net.net.scorer.head.score_fr.bias")
    with pytest.raises(
        WeightsError, match="other.ckpt: from a different net; missing in the file: .*score_fr.bias"
    ):
        parent_weights(net, {"state_dict": stored}, "other.ckpt")
