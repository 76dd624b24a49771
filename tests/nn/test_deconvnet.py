"""Sizes, cell positions and parameters of the unpooling decoder, on every trunk that pools."""

import itertools
import math

import pytest
import torch
from torch import nn

from fcnexp import build
from fcnexp.config.compose import compose_run
from fcnexp.errors import ConfigError
from fcnexp.nn.inspection.trace import trace
from fcnexp.nn.weights.caffe_names import blobs, constants, counts
from fcnexp.task.optim import parameter_groups

TRUNKS = ("vgg16_bn", "vgg16", "alexnet", "googlenet", "tiny")


def deconvnet(*overrides: str, classes: int = 3):
    cfg = compose_run(["model=deconvnet", *overrides])
    return build.build_net(cfg, {"class": classes})[0].eval()


def maps_of(*overrides: str, size: tuple[int, int] = (224, 224)):
    net, inputs = build.on_meta(compose_run([*overrides]), {"class": 21}, size)
    return net, {each.name: each for each in trace(net, inputs)}


# Output channels of each decoder level, coarsest first. Source: PAPER.yaml, deconvnet.net.
DECODER = ((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64), (64, 64))
ENCODER = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def test_the_papers_net_has_the_papers_maps():
    _, maps = maps_of("experiment=voc_deconvnet")
    unpooled = {name: each.shape[1:] for name, each in maps.items() if each.kind == "unpooling"}
    sizes = (14, 28, 56, 112, 224)
    assert unpooled == {f"unpool{5 - i}": (n, n) for i, n in enumerate(sizes)}
    assert maps["fc7"].shape == (4096, 1, 1) and maps["fc6-deconv"].shape == (512, 7, 7)
    decoder = {
        f"deconv{5 - i}_{j}": (channels, sizes[i], sizes[i])
        for i, level in enumerate(DECODER)
        for j, channels in enumerate(level, start=1)
    }
    assert {n: m.shape for n, m in maps.items() if n.startswith("deconv")} == decoder
    assert list(maps)[-1] == "score_fr" and maps["score_fr"].shape == (21, 224, 224)


def test_the_papers_net_has_the_papers_parameters():
    """Each layer has weights and a bias, and each except the score layer a batch norm after it."""
    total, channels = 0, 3
    layers = [(width, 3) for level in ENCODER for width in level]
    layers += [(4096, 7), (4096, 1), (512, 7)]  # fc6, fc7, and back
    layers += [(width, 3) for level in DECODER for width in level]
    for width, kernel in layers:
        total += channels * width * kernel**2 + width + 2 * width
        channels = width
    total += 64 * 21 + 21
    net, maps = maps_of("experiment=voc_deconvnet")
    assert sum(each.parameters for each in maps.values()) == total
    assert counts(net) == {"total": total, "learnable": total, "fixed": 0} and not constants(net)


@pytest.mark.parametrize(("trunk", "head"), list(itertools.product(TRUNKS, ("fc", "linear"))))
def test_every_size_gives_scores_of_that_size(trunk, head):
    sizes = [(n, 41 - n) for n in range(1, 41)] + [(97, 1), (65, 130), (223, 331)]
    with torch.device("meta"):
        net = deconvnet(f"backbone={trunk}", f"head={head}")
        for size in sizes:
            assert net({"rgb": torch.zeros(2, 3, *size)}).shape == (2, 3, *size)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (33, 47)])
def test_small_images_get_finite_scores(size):
    net = deconvnet("head=fc", "head.channels=8")
    nn.init.normal_(net.net.scorer.score.weight)
    scores = net({"rgb": torch.randn(2, 3, *size)})
    assert scores.shape == (2, 3, *size) and torch.isfinite(scores).all()


def make_pass_through(net: nn.Module) -> None:
    """Make each convolution the mean over channels of the cell in its middle."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            middle = module.kernel_size[0] // 2
            nn.init.zeros_(module.weight)
            module.weight.data[..., middle, middle] = 1 / module.weight.shape[1]
            nn.init.zeros_(module.bias) if module.bias is not None else None


@pytest.mark.parametrize(("trunk", "head"), list(itertools.product(TRUNKS, ("fc", "linear"))))
def test_a_bright_pixel_is_scored_where_it_is(trunk, head):
    """Through the deepest map and back, the score peaks at the pixel that the grid gives."""
    narrow = ["head.channels=4"] if head == "fc" else []
    net = deconvnet(f"backbone={trunk}", f"head={head}", *narrow, classes=1)
    make_pass_through(net)
    scorer = net.net.scorer
    step, origin = scorer.grid
    row, column = (round((place - origin) / step) for place in (120, 110))
    place = [int(origin + step * row), int(origin + step * column)]
    # fc6's window is 7 cells of 32 pixels, mostly padding if the trunk pads the image
    image = (
        torch.zeros(1, 3, 131, 133) if scorer.backbone.pads_image else torch.zeros(1, 3, 227, 229)
    )
    image[..., place[0], place[1]] = 100
    with torch.inference_mode():
        cells, pixels = scorer(image)[0, 0], net({"rgb": image})[0, 0]
    assert cells.max() > 0 and (cells == cells.max()).nonzero().tolist() == [[row, column]]
    assert (pixels == pixels.max()).nonzero().tolist() == [place]


@pytest.mark.parametrize("trunk", TRUNKS)
def test_trace_reports_every_parameter_and_the_map_of_pixels(trunk):
    net, maps = maps_of(f"backbone={trunk}", "model=deconvnet", size=(65, 97))
    assert sum(m.parameters for m in maps.values()) == sum(p.numel() for p in net.parameters())
    last = list(maps.values())[-1]
    assert last.shape == (21, 65, 97) and last.grid == (1, 0)
    first = min(int(name[6:]) for name, m in maps.items() if m.kind == "unpooling")
    assert maps[f"unpool{first}"].grid == net.net.scorer.grid == maps["score_fr"].grid


def test_crop_after_a_padded_head_is_traced():
    _, maps = maps_of("backbone=vgg16_bn", "model=deconvnet", size=(20, 20))
    assert maps["fc6-deconvc"].shape == (512, 1, 1) and maps["fc6-deconvc"].offset == 0
    assert maps["unpool5"].shape == (512, 2, 2) and list(maps)[-1] == "score_fr"


def test_blobs_go_by_original_names_and_streams():
    cfg = compose_run(["model=deconvnet", "data=nyud", "modality=rgb_hha", "backbone=vgg16_bn"])
    with torch.device("meta"):
        net = build.build_net(cfg, {"class": 4})[0]
        names = {name: [tuple(t.shape) for t in found] for name, found in blobs(net).items()}
    assert names["fc6-deconvcolor"] == [(4096, 512, 7, 7), (512,)]
    assert names["deconv4_2hha"] == [(512, 256, 3, 3), (256,)]
    assert names["score_frhha"] == [(4, 64, 1, 1), (4,)]
    held = {id(p) for layers in blobs(net).values() for p in layers}
    norms = {id(p) for m in net.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    assert held | norms == {id(p) for p in net.parameters()} and not held & norms


def test_decoder_starts_normal_with_variance_2_over_fan_in_and_scores_at_zero():
    net = build.network(["model=deconvnet", "backbone=vgg16_bn", "head.channels=64"])
    scorer = net.net.scorer
    layers = [m for m in scorer.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert len(layers) == 11
    for layer in layers:
        fan_in = layer.in_channels * layer.kernel_size[0] ** 2
        spread = layer.weight.std() / math.sqrt(2 / fan_in)
        assert abs(spread - 1) < 0.02 and abs(layer.weight.mean()) * math.sqrt(fan_in) < 0.02
        assert not layer.bias.any()
    assert not scorer.score.weight.any() and not scorer.score.bias.any()


def test_all_parameters_learn_and_norms_do_not_decay():
    net = deconvnet()
    groups = parameter_groups(
        net,
        scores=net.score_layers(),
        new=[],
        lr=1,
        weight_decay=1,
        multipliers=compose_run(["regime=deconvnet"]).regime.multipliers,
        new_lr=1,
    )
    table = {g["name"]: (len(g["params"]), g["lr"], g["weight_decay"]) for g in groups}
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert norms == 12 + 11  # six blocks of two; back to pool5, five levels of two
    assert table == {
        "weight": (12 + 11, 1, 1),
        "bias": (11, 2, 0),
        "norm": (2 * norms, 1, 0),
        "score weight": (1, 1, 1),
        "score bias": (1, 2, 0),
    }
    net.train()({"rgb": torch.randn(2, 3, 64, 64)}).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_batch_norm_option_normalises_after_fc6_and_fc7():
    net = deconvnet("head=fc", "head.channels=8", "head.batch_norm=true", "head.dropout=0")
    head = net.net.scorer.head.train()
    features = head(torch.randn(4, 128, 7, 7))
    assert head.bn6.running_mean.any() and head.bn7.running_mean.any()
    assert features.shape == (4, 8, 7, 7) and (features == 0).float().mean() == pytest.approx(
        0.5, abs=0.1
    )  # half of the normalised values are below their mean
    assert "bn6.weight" not in deconvnet("head=fc", "head.channels=8").net.scorer.head.state_dict()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["backbone=resnet18"], "model: ResNet downsamples by strided convolutions.*=vgg16_bn"),
        (["model.convs=[2,2]"], r"model: convs=\[2, 2\]: this backbone has 5 poolings"),
        (["backbone=alexnet", "model.convs=[3,3,3,2,2]"], r"has 3 poolings.*convs=\[2, 2, 2\]"),
        (["model.convs=[2,2,2,2,0]"], "give 1 or more convolutions for each"),
        (["model.convs=[]"], r"convs=\[\]: this backbone has 5 poolings"),
    ],
)
def test_impossible_decoders_are_refused(overrides, message):
    cfg = compose_run(["model=deconvnet", *overrides])
    with pytest.raises(ConfigError, match=message):
        build.build_net(cfg, {"class": 3})


def test_convs_lists_the_coarsest_level_first():
    _, maps = maps_of("model=deconvnet", "model.convs=[1,2,3,4,5]")
    names = [name for name in maps if name.startswith("deconv")]
    assert [sum(n.startswith(f"deconv{i}_") for n in names) for i in (5, 4, 3, 2, 1)] == [
        *(1, 2, 3, 4, 5)
    ]
