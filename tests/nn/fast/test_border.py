"""VGG16's maps with borders from a template equal the plainly computed maps, in float64."""

import pytest
import torch
from torch import Tensor, nn

from fcnexp.build import network
from fcnexp.nn.backbones.vgg import BLOCKS, VGG16
from fcnexp.nn.dense.rarefaction import rarefy_trunk
from fcnexp.nn.fast import border
from fcnexp.nn.fast.border import template_length, trunk_maps
from fcnexp.nn.fast.switches import plain
from fcnexp.nn.layer_probe import cut
from fcnexp.nn.pooling import MaxPool

ALL = {2, 4, 8, 16, 32}
WIDTHS = (4, 5, 6, 7, 8)


def trunk(pool5_stride: int = 2, pad: int = 100) -> VGG16:
    """Return VGG16 with few channels, in float64, with biases far from 0."""
    made = VGG16(3, pad, False, pool5_stride)
    channels = 3
    for (block, (_, depth)), width in zip(enumerate(BLOCKS, start=1), WIDTHS, strict=True):
        for i in range(1, depth + 1):
            name = f"conv{block}_{i}"
            layer = nn.Conv2d(channels, width, 3, padding=made.get_submodule(name).padding)
            nn.init.normal_(layer.weight, std=(2 / channels / 9) ** 0.5)
            nn.init.normal_(layer.bias, std=0.3)
            setattr(made, name, layer)
            channels = width
    return made.double()


def picture(height: int, width: int, images: int = 1) -> Tensor:
    return 50 * torch.randn(images, 3, height, width, dtype=torch.float64)


def largest_error(found: Tensor, expected: Tensor) -> float:
    """Return the largest absolute difference relative to the largest expected value."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture
def templates(monkeypatch):
    """Return the list of sizes of the computed templates."""
    sizes, compute = [], border._compute
    monkeypatch.setattr(border, "_compute", lambda t, s, w: sizes.append(s) or compute(t, s, w))
    return sizes


@torch.no_grad()
def test_maps_equal_plain_ones_for_every_size_modulo_32(templates):
    net = trunk()
    for height in range(1, 33):
        image = picture(height, 7 * height % 32 + 32 * (height % 3) + 1)
        found, expected = trunk_maps(net, image, ALL), net(image)
        assert max(largest_error(found[stride], expected[stride]) for stride in ALL) < 1e-13
    assert len(templates) >= 16


def test_gradients_equal_plain_ones_for_every_size_modulo_32():
    net = trunk()
    for height in range(1, 33):
        image = picture(height, (5 * height) % 32 + 1).requires_grad_()
        gradients = []
        for maps in (trunk_maps(net, image, ALL), net(image)):
            torch.manual_seed(height)
            loss = sum((maps[s] * torch.randn(maps[s].shape)).sum() for s in sorted(ALL))
            gradients.append(torch.autograd.grad(loss, [image, *net.parameters()]))
        assert max(largest_error(a, b) for a, b in zip(*gradients, strict=True)) < 1e-10


@torch.no_grad()
def test_a_template_shorter_by_one_cell_of_pool4_is_wrong(monkeypatch):
    net, image = trunk(), picture(41, 24)
    monkeypatch.setattr(border, "template_length", lambda length: template_length(length) - 16)
    assert largest_error(trunk_maps(net, image, ALL)[16], net(image)[16]) > 1e-9


@torch.no_grad()
def test_cut_trunks_and_pool5_of_stride_1_use_templates_too(templates):
    both = picture(30, 45, images=2)
    net = trunk(pool5_stride=1)
    assert largest_error(trunk_maps(net, both, {8, 16})[16], net(both)[16]) < 1e-13
    net = trunk()
    cut(net, 16)
    assert largest_error(trunk_maps(net, both, {16})[16], net(both)[16]) < 1e-13
    assert len(templates) == 2


@torch.no_grad()
def test_unsupported_trunks_run_the_plain_code(templates):
    image = picture(40, 40)
    rarefied, narrow, hooked = trunk(), trunk(pad=1), trunk()
    rarefy_trunk(rarefied, 8)
    seen = []
    hooked.conv2_1.register_forward_hook(lambda m, args, out: seen.append(out.shape))
    for net in (rarefied, narrow, hooked):
        assert torch.equal(trunk_maps(net, image, {32})[32], net(image)[32])
    with plain(["border"]):
        trunk_maps(trunk(), image, {32})
    trunk_maps(trunk(), image, {1, 32})
    assert not templates
    assert seen[0] == seen[1] == (1, WIDTHS[1], 119, 119)


class Louder(nn.Conv2d):
    """A convolution subclass with a different output."""

    def forward(self, maps: Tensor) -> Tensor:
        return 2 * super().forward(maps)


def louder(layer: nn.Conv2d) -> None:
    layer.forward = lambda maps: 2 * nn.Conv2d.forward(layer, maps)


REBUILT = {
    "subclass": lambda net: setattr(net.conv3_1, "__class__", Louder),
    "forward": lambda net: louder(net.conv3_1),
    "padding": lambda net: setattr(net.conv1_1, "padding", (60, 60)),
    "no bias": lambda net: net.conv1_1.register_parameter("bias", None),
    "window": lambda net: setattr(net, "conv3_1", nn.Conv2d(5, 6, 5, padding=2).double()),
    "borders": lambda net: setattr(
        net, "conv3_1", nn.Conv2d(5, 6, 3, padding=1, padding_mode="reflect").double()
    ),
    "pooling": lambda net: setattr(net, "pool2", MaxPool(3, 2)),
    "weight norm": lambda net: nn.utils.parametrizations.weight_norm(net.conv3_1),
}


@pytest.mark.parametrize("change", REBUILT)
@torch.no_grad()
def test_a_modified_trunk_runs_its_own_layers(change):
    net, image = trunk(), picture(40, 40)
    trunk_maps(net, image, {32})
    REBUILT[change](net)
    assert largest_error(trunk_maps(net, image, {32})[32], net(image)[32]) < 1e-13


@torch.no_grad()
def test_a_template_is_cached_until_weights_change(templates):
    net, image = trunk(), picture(40, 40)

    def check() -> None:
        assert largest_error(trunk_maps(net, image, {32})[32], net(image)[32]) < 1e-13

    check()
    trunk_maps(net, picture(24, 56), {32})  # equal sizes modulo 16
    assert len(templates) == 1
    for change in (
        lambda: net.conv3_1.weight.mul_(2),
        lambda: net.conv2_2.weight.data.mul_(2),  # torch's version counter misses it
        lambda: net.conv1_1.bias.data.add_(1),
        lambda: net.conv3_3.weight.data[3].zero_(),  # one filter
        lambda: net.load_state_dict(trunk().state_dict()),
    ):
        change()
        check()
    assert len(templates) == 6


@pytest.mark.parametrize(
    "model", [*(pytest.param(m, marks=pytest.mark.slow) for m in ("fcn32s", "fcn16s")), "fcn8s"]
)
def test_nets_equal_themselves_without_fast_paths(model):
    net = network([f"experiment=voc_{model}", "init=scratch", "head.channels=8"]).double()
    for layer in net.score_layers():
        nn.init.normal_(layer.weight)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):  # at 0, rounding decides ReLU's gradient
            nn.init.normal_(layer.bias, std=0.1)
    image = {"rgb": picture(17, 40)}

    def scores_and_gradients() -> list[Tensor]:
        net.zero_grad()
        scores = net(image)
        (scores * torch.linspace(-1, 1, scores.shape[-1])).sum().backward()
        return [scores.detach(), *(p.grad for p in net.parameters())]

    fast = scores_and_gradients()
    with plain():
        slow = scores_and_gradients()
    assert max(largest_error(a, b) for a, b in zip(fast, slow, strict=True)) < 1e-10
    with torch.inference_mode():
        assert largest_error(net(image), slow[0]) < 1e-12
