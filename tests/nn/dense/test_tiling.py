"""An image cut into windows gets its whole-image scores at every pixel."""

from unittest import mock

import numpy as np
import pytest
import torch
from dense_nets import randomise

from fcnexp import build
from fcnexp.config.compose import compose_run
from fcnexp.nn.dense.tiling import Tiling, tiling_of
from fcnexp.nn.heads import LinearHead

SMALL = "backbone.widths=[2,2,3,3,4,4]"
NETS = {
    "alexnet_32s": ["backbone=alexnet", "model=fcn32s", "head.channels=8"],
    "vgg16_8s": ["backbone=vgg16", "model=fcn8s", "head.channels=8"],
    "vgg16_pool5_stride_1": [
        "backbone=vgg16",
        "model=fcn32s",
        "head=linear",
        "backbone.pool5_stride=1",
    ],
    "googlenet_8s": ["backbone=googlenet", "model=fcn8s"],
    "resnet18_32s": ["backbone=resnet18", "model=fcn32s"],
    "deconv_d2l": ["backbone=resnet18", "model=fcn32s", "dense=deconv_d2l"],
    "tiny_32s": ["backbone=tiny", SMALL, "model=fcn32s"],
    "tiny_16s": ["backbone=tiny", SMALL, "model=fcn16s"],
    "tiny_8s": ["backbone=tiny", SMALL, "model=fcn8s"],
    "tiny_zeros": ["backbone=tiny", SMALL, "model=fcn8s", "dense.edges=zeros"],
    "tiny_learned": [
        "backbone=tiny",
        SMALL,
        "model=fcn8s",
        "dense=deconv_learned",
        "dense.learned=all",
    ],
    "tiny_fc": ["backbone=tiny", SMALL, "model=fcn1s", "head=fc", "head.channels=4"],
    "bilinear": ["backbone=tiny", SMALL, "model=fcn8s", "dense=bilinear"],
    "deconvnet": ["backbone=tiny", SMALL, "model=deconvnet"],
    "deconvnet_overlapping": ["backbone=alexnet", "model=deconvnet", "head=linear"],
    "rarefaction": ["backbone=tiny", SMALL, "model=fcn8s", "dense=rarefaction"],
    "rarefaction_8": ["backbone=tiny", SMALL, "model=fcn32s", "dense=rarefaction_8"],
    "shared_shifts": ["backbone=tiny", SMALL, "model=fcn8s", "dense=shift_and_stitch_8"],
    "shifts": [
        "backbone=tiny",
        SMALL,
        "model=fcn32s",
        "dense=shift_and_stitch_8",
        "dense.shared=false",
    ],
    "late_fusion": ["backbone=tiny", SMALL, "model=fcn8s", "modality=rgb_hha"],
}


def net_and_channels(name: str):
    """A float64 net with random weights, and its input channels by field."""
    cfg = compose_run(NETS[name])
    net, recipe = build.build_net(cfg, {"class": 3})
    net = randomise(net).double().eval()
    return net, {field: r.channels for field, r in recipe.fields.items()}


def picture(channels, *size):
    rng = np.random.default_rng(0)
    return {f: torch.from_numpy(rng.normal(size=(1, c, *size))) for f, c in channels.items()}


def in_windows(net, tiling: Tiling, inputs, *window: int) -> torch.Tensor:
    """Scores of an image, computed window by window."""
    height, width = next(iter(inputs.values())).shape[-2:]
    scores = None
    for row in tiling.pieces(height, window[0]):
        for column in tiling.pieces(width, window[1]):
            cut = {
                f: x[..., row.begin : row.end, column.begin : column.end] for f, x in inputs.items()
            }
            part = net(cut)
            if scores is None:
                scores = part.new_full((*part.shape[:2], height, width), float("nan"))
            kept = part[
                ...,
                row.first - row.begin : row.last - row.begin,
                column.first - column.begin : column.last - column.begin,
            ]
            scores[..., row.first : row.last, column.first : column.last] = kept
    return scores


SLOW = ("vgg16_8s", "vgg16_pool5_stride_1", "deconvnet_overlapping")
MARKED = [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NETS]


@pytest.mark.parametrize("name", MARKED)
def test_windows_reproduce_the_whole_images_scores(name):
    net, channels = net_and_channels(name)
    tiling = tiling_of(net, channels)
    sizes = [(64, (45, 2 * tiling.least + 90)), (0, (tiling.least + 77, 33))]
    # A net that pads by 100 pixels is slow even on a narrow image, so it is run on one size only.
    for more, size in sizes[: 1 if name.startswith(("alexnet", "vgg", "resnet")) else 2]:
        window = tiling.least + more
        inputs = picture(channels, *size)
        assert len(tiling.pieces(max(size), window)) >= 2
        with torch.inference_mode():
            whole, cut = net(inputs), in_windows(net, tiling, inputs, window, window)
        assert (whole - cut).abs().max() < 1e-9 * whole.abs().max()
        assert torch.equal(whole.argmax(1), cut.argmax(1))


@pytest.mark.parametrize("name", ["tiny_32s", "tiny_8s", "bilinear", "deconv_d2l"])
def test_margins_are_exactly_what_a_pixel_depends_on(name):
    """By gradients, with mean pooling and positive weights, so that no dependence is hidden."""
    net, channels = net_and_channels(name)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_parameters()
        if isinstance(module, torch.nn.Conv2d):
            mean = 1 / module.weight[0].numel()
            torch.nn.init.uniform_(module.weight, 0.5 * mean, 1.5 * mean)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
    tiling = tiling_of(net, channels)
    side = (2 * tiling.least // tiling.stride + 1) * tiling.stride
    found = set()
    with mock.patch.object(torch.nn.functional, "max_pool2d", mean_pool):
        image = torch.rand(1, 3, side, 8, dtype=torch.float64, requires_grad=True)
        scores = net({"rgb": image}).sum(dim=(1, 3))[0]
        for pixel in range(side // 2, side // 2 + tiling.stride):
            (slope,) = torch.autograd.grad(scores[pixel], image, retain_graph=True)
            rows = slope.abs().sum(dim=(0, 1, 3)).nonzero()[:, 0]
            found.add((pixel - int(rows[0]), int(rows[-1]) - pixel))
    assert max(before for before, _ in found) == tiling.before
    assert max(after for _, after in found) == tiling.after


def mean_pool(maps, kernel_size, stride=None, padding=0, *_, ceil_mode=False, **__):
    return torch.nn.functional.avg_pool2d(maps, kernel_size, stride, padding, ceil_mode)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 100, 127, 128, 129, 200, 1000, 1001])
def test_pieces_cover_an_axis_once_and_keep_the_margins(length):
    tiling = Tiling(stride=8, before=11, after=14, least=48)
    for window in range(48, 130, 3):
        pieces = tiling.pieces(length, window)
        assert [p.first for p in pieces[1:]] == [p.last for p in pieces[:-1]]
        assert pieces[0].first == 0 and pieces[-1].last == length
        for piece in pieces:
            assert piece.begin % 8 == 0 and piece.end - piece.begin <= max(window, 48)
            assert piece.first < piece.last
            assert piece.begin == 0 or piece.begin <= piece.first - 11
            assert piece.end == length or piece.end >= piece.last + 14
    with pytest.raises(ValueError, match="this net needs windows of 48 or more"):
        tiling.pieces(1000, 47)


class Custom(LinearHead):
    """A custom head that depends on nothing but its layers' windows."""


class Context(LinearHead):
    """A custom head that depends on the whole image, in a way that the trace cannot detect."""

    def forward(self, maps):
        return super().forward(maps + maps.mean((2, 3), keepdim=True))


class Near(LinearHead):
    """A custom head that depends on a neighbouring cell, undetected by the trace."""

    def forward(self, maps):
        return super().forward(maps + maps.roll(1, 2))


class Layered(LinearHead):
    """As `Context`, but the mean passes a convolution, so the trace finds a map of fixed size."""

    def forward(self, maps):
        mean = maps.mean((2, 3), keepdim=True)
        layer = torch.eye(maps.shape[1], dtype=maps.dtype, device=maps.device)[..., None, None]
        return super().forward(maps + torch.nn.functional.conv2d(mean, layer))


HEADS = [(Custom, True), (Context, False), (Near, False), (Layered, False)]


@pytest.mark.parametrize(("head", "cut"), HEADS)
def test_nets_with_custom_parts_are_tiled_only_if_windows_agree(head, cut):
    net, channels = net_and_channels("tiny_8s")
    ours = tiling_of(net, channels)
    net.net.scorer.head.__class__ = head
    assert tiling_of(net, channels) == (ours if cut else None)
