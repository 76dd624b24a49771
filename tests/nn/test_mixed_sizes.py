"""Images of different sizes in one pass: scores and gradients are those of each image alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fcnexp.build import network
from fcnexp.nn import mixed_sizes
from fcnexp.nn.fast.recompute import recompute_blocks
from fcnexp.nn.fast.switches import plain
from fcnexp.nn.heads import LinearHead
from fcnexp.nn.streams import Network

SCORES, GRADIENTS = 1e-12, 1e-10  # of the largest score, and of the gradients' norm
NARROW = "head.channels=16"
NETS = {  # the choices of a net, and the fields that it takes
    "googlenet 32s": ["model=fcn32s", "backbone=googlenet"],
    "googlenet 8s": ["model=fcn8s", "backbone=googlenet"],
    "googlenet 2s": ["model=fcn2s", "backbone=googlenet"],
    "googlenet, fc6": ["model=fcn8s", "backbone=googlenet", "head=fc", NARROW],
    "googlenet, pad 100": ["model=fcn8s", "backbone=googlenet", "backbone.pad=100"],
    "googlenet, pool4": ["model=fcn_pool4", "backbone=googlenet"],
    "alexnet 32s, pad 100": ["model=fcn32s", "backbone=alexnet", NARROW],
    "alexnet 4s, pad 100": ["model=fcn4s", "backbone=alexnet", NARROW],
    "alexnet 8s": ["model=fcn8s", "backbone=alexnet", "backbone.pad=5", NARROW],
    "vgg16 32s, pad 100": ["model=fcn32s", "backbone=vgg16", NARROW],
    "vgg16 2s": ["model=fcn2s", "backbone=vgg16", "backbone.pad=1", NARROW],
    "at once": ["model=fcn8s_atonce", "backbone=googlenet"],
    "maximum": ["model=fcn8s", "backbone=googlenet", "model.fusion=max"],
    "learned": ["model=fcn8s", "backbone=googlenet", "dense=deconv_learned"],
    "learned, zeros": ["model=fcn16s", "backbone=alexnet", "dense=deconv_learned", NARROW],
    "all learned": ["model=fcn8s", "backbone=googlenet", "dense=deconv_fixed", "dense.learned=all"],
    "bilinear": ["model=fcn8s", "backbone=googlenet", "dense=bilinear"],
    "rarefied": ["model=fcn32s", "backbone=googlenet", "dense=rarefaction_8"],
    "late fusion": ["model=fcn16s", "backbone=googlenet", "modality=rgb_hha", "data=rooms"],
    "early fusion": ["model=fcn16s", "backbone=googlenet", "modality=rgbd", "data=rooms"],
}
CHANNELS = {"rgb": 3, "hha": 3, "depth": 1}
thirty = settings(max_examples=30, derandomize=True, deadline=None, database=None)
sides = st.integers(1, 90)
sizes_of_batches = st.lists(st.tuples(sides, sides), min_size=2, max_size=4)


def made(choices: list[str]) -> Network:
    """A float64 net in training mode without dropout, none of whose weights is 0."""
    torch.manual_seed(0)
    net = network([*choices, "init=scratch"]).double().train()
    for module in net.modules():
        if hasattr(module, "dropout"):
            module.dropout = 0.0
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            if not module.weight.any():
                nn.init.normal_(module.weight, 0, 0.1)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0, 0.1)
    return net


def padded(fields: tuple[str, ...], sizes: list[tuple[int, int]]) -> dict[str, torch.Tensor]:
    """Noise inside each image's size, zeros beyond."""
    height, width = (max(sides) for sides in zip(*sizes, strict=True))
    inputs = {}
    for name in fields:
        inputs[name] = torch.zeros(len(sizes), CHANNELS[name], height, width, dtype=torch.float64)
        for image, (h, w) in zip(inputs[name], sizes, strict=True):
            image[:, :h, :w] = torch.randn(len(image), h, w)
    return inputs


def run(
    net: Network, inputs: dict[str, torch.Tensor], sizes: list[tuple[int, int]]
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Scores of each image, and the gradients of all parameters in one vector."""
    net.zero_grad()
    scores = net.score_each(inputs, sizes)
    own = [each[:, :h, :w] for each, (h, w) in zip(scores, sizes, strict=True)]
    torch.stack([(each * each.detach().cos()).sum() for each in own]).sum().backward()
    grads = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
    return [each.detach() for each in own], torch.cat(grads)


def compare(net: Network, sizes: list[tuple[int, int]]) -> None:
    """Assert that images in shared passes have the scores and gradients that they have alone."""
    inputs = padded(net.fields, sizes)
    assert mixed_sizes.shares_passes(net)
    shared, gradient = run(net, inputs, sizes)
    with plain(["mixed"]):
        alone, expected = run(net, inputs, sizes)
    largest = max(each.abs().max() for each in alone)
    for found, one in zip(shared, alone, strict=True):
        assert (found - one).abs().max() <= SCORES * largest
    assert expected.norm() > 0
    assert (gradient - expected).norm() <= GRADIENTS * expected.norm()


@pytest.fixture
def one_pass(monkeypatch):
    """All images of a batch in one pass, however different."""
    monkeypatch.setitem(mixed_sizes._PASS, "cpu", 10**9)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * ("vgg16 32s" in name)) for name in NETS],
)
def test_each_image_has_its_own_scores_and_gradients(name, one_pass):
    net = made(NETS[name])
    with plain(["border"]):  # VGG16 padded by 100 would go one by one
        compare(net, [(70, 41), (33, 90), (64, 64)])


@pytest.mark.slow
@pytest.mark.usefixtures("one_pass")
@pytest.mark.parametrize("name", NETS)
@thirty
@given(sizes=sizes_of_batches)
def test_any_sizes_share_a_pass(name, sizes):
    with plain(["border"]):
        compare(_kept(name), sizes)


_nets: dict[str, Network] = {}


def _kept(name: str) -> Network:
    if name not in _nets:
        _nets.clear()
        _nets[name] = made(NETS[name])
    return _nets[name]


@pytest.mark.parametrize("name", ["googlenet 8s", "alexnet 8s", "vgg16 2s"])
def test_scoring_in_float32_uses_the_fast_paths_and_gives_each_image_its_scores(name, one_pass):
    net, sizes = made(NETS[name]).float().eval(), [(70, 41), (33, 90), (64, 64)]
    inputs = {field: x.float() for field, x in padded(net.fields, sizes).items()}
    with torch.inference_mode():
        assert mixed_sizes.shares_passes(net)
        whole = net.score_each(inputs, sizes)
        for found, (h, w), image in zip(whole, sizes, inputs["rgb"], strict=True):
            alone = net({"rgb": image[None, :, :h, :w]})[0]
            assert (found[:, :h, :w] - alone).abs().max() <= 1e-4 * alone.abs().max()


def test_a_batch_goes_through_in_groups_and_comes_back_in_order():
    net, sizes = made(NETS["googlenet 8s"]), [(64, 60), (33, 90), (62, 64), (35, 90), (64, 64)]
    assert len(mixed_sizes.grouped(sizes, 2000)) == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(mixed_sizes._PASS, "cpu", 2000)
        compare(net, sizes)


@thirty
@given(sizes=sizes_of_batches, cost=st.integers(0, 20_000))
def test_groups_hold_each_image_once_and_cost_no_more_than_one_pass_or_one_by_one(sizes, cost):
    def price(groups: list[list[int]]) -> int:
        return sum(cost + mixed_sizes._pixels([sizes[i] for i in group]) for group in groups)

    groups, every = mixed_sizes.grouped(sizes, cost), list(range(len(sizes)))
    assert sorted(image for group in groups for image in group) == every
    assert price(groups) <= min(price([every]), price([[image] for image in every]))


class Mean(nn.Module):
    """A custom part that mixes all cells of an image, and does not say that it keeps them apart."""

    def forward(self, maps):
        return maps - maps.mean((2, 3), keepdim=True)


def test_a_custom_part_sends_images_one_by_one_unless_it_says_otherwise(one_pass):
    net, sizes = made(NETS["googlenet 32s"]), [(70, 41), (33, 90)]
    inputs, score = padded(net.fields, sizes), net.net.scorer.head.score_fr
    net.net.scorer.head.score_fr = nn.Sequential(Mean(), score)
    assert not mixed_sizes.shares_passes(net)
    whole = net.score_each(inputs, sizes)
    for found, (h, w), image in zip(whole, sizes, inputs["rgb"], strict=True):
        assert torch.equal(found[:, :h, :w], net({"rgb": image[None, :, :h, :w]})[0])
    Mean.mixed_sizes = True
    try:
        assert mixed_sizes.shares_passes(net)
        with pytest.raises(AssertionError):
            compare(net, sizes)  # what it says is not true
    finally:
        del Mean.mixed_sizes


class Louder(LinearHead):
    """Overrides `forward` of a part that keeps images apart."""

    def forward(self, maps):
        return 2 * super().forward(maps)


def test_what_a_class_says_holds_for_its_own_forward_only():
    net = made(NETS["googlenet 32s"])
    assert mixed_sizes.shares_passes(net)
    net.net.scorer.head.__class__ = Louder
    assert not mixed_sizes.shares_passes(net)


def test_hooked_and_recomputed_nets_go_one_by_one():
    net = made(NETS["googlenet 32s"])
    handle = net.net.scorer.head.register_forward_hook(lambda *_: None)
    assert not mixed_sizes.shares_passes(net)
    handle.remove()
    assert mixed_sizes.shares_passes(net)
    recompute_blocks(net)
    assert not mixed_sizes.shares_passes(net)


def test_batch_normalisation_sees_the_padding_in_training_but_not_in_scoring():
    torch.manual_seed(0)
    net, sizes = network(["model=fcn8s", "backbone=tiny", "init=scratch"]), [(40, 33), (24, 48)]
    inputs = {name: x.float() for name, x in padded(net.fields, sizes).items()}
    assert torch.equal(net.train().score_each(inputs, sizes), net(inputs))
    whole = net.eval().score_each(inputs, sizes)
    for found, (h, w), image in zip(whole, sizes, inputs["rgb"], strict=True):
        alone = net({"rgb": image[None, :, :h, :w]})[0]
        assert torch.allclose(found[:, :h, :w], alone, atol=1e-5)
