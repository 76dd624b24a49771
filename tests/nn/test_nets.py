import itertools

import numpy as np
import pytest
import torch

from fcnexp.build import network
from fcnexp.errors import ConfigError
from fcnexp.nn.dense.upsampling import Upsampling, bilinear_kernel
from fcnexp.nn.geometry import IMAGE, Grid

BACKBONES = ("tiny", "alexnet", "googlenet", "resnet18", "vgg16")
MODELS = ("fcn32s", "fcn16s", "fcn8s")
HEADS = ("fc", "linear")
SIZES = [(1, 1), (1, 37), (33, 65), (50, 31)]


def small(backbone: str, *overrides: str) -> torch.nn.Module:
    """Return a net with narrow layers, so that every combination runs fast."""
    narrow = ["backbone.widths=[4,4,6,6,8,8]"] if backbone == "tiny" else []
    return network([f"backbone={backbone}", *narrow, *overrides])


@pytest.mark.parametrize(
    ("backbone", "model", "head"), list(itertools.product(BACKBONES, MODELS, HEADS))
)
def test_every_combination_returns_the_images_size(backbone, model, head):
    channels = ["head.channels=8"] if head == "fc" else []
    net = small(backbone, f"model={model}", f"head={head}", *channels)
    for size in SIZES[:2] if backbone == "vgg16" else SIZES:
        with torch.inference_mode():
            assert net({"rgb": torch.zeros(1, 3, *size)}).shape == (1, 8, *size)


@pytest.mark.parametrize("backbone", ["tiny", "googlenet", "resnet18", "alexnet"])
def test_random_sizes(backbone):
    net = small(backbone, "head=linear")
    for height, width in np.random.default_rng(0).integers(1, 150, (8, 2)).tolist():
        with torch.inference_mode():
            assert net({"rgb": torch.zeros(1, 3, height, width)}).shape[2:] == (height, width)


def test_classes_follow_the_data_set():
    assert network(["data=voc"])({"rgb": torch.zeros(1, 3, 9, 9)}).shape[1] == 21


def test_untrained_scores_are_zero():  # sec. 4.2: score layers start at zero
    scores = network([])({"rgb": torch.randn(1, 3, 40, 40)})
    assert torch.equal(scores, torch.zeros_like(scores))


def test_missing_tap_is_refused_with_the_available_ones():
    with pytest.raises(
        ConfigError,
        match="no tap of stride 2 to fuse .*; it has 16, 8, 4: choose model=fcn32s, .*fcn4s",
    ):
        network(["backbone=alexnet", "model.skips=[16,8,4,2]"])


def test_unknown_edges_are_refused():
    with pytest.raises(ConfigError, match="dense.edges=wrap: allowed are null, zeros, repeat"):
        network(["dense.edges=wrap"])


@pytest.mark.parametrize("size", [3, 4, 15, 63, 64])
def test_bilinear_kernel_interpolates(size):
    """A constant stays constant: the contributions of all cells to a pixel sum to 1."""
    stride = (size + 1) // 2
    kernel = bilinear_kernel(size)[None, None]
    dense = torch.nn.functional.conv_transpose2d(torch.ones(1, 1, 4, 4), kernel, stride=stride)
    inner = dense[..., size - stride : -(size - stride), size - stride : -(size - stride)]
    torch.testing.assert_close(inner, torch.ones_like(inner))


@pytest.mark.parametrize("origin", [0.0, 3.5])
def test_repeated_edges_equal_a_bilinear_resize(origin):
    """Pixel by pixel: interpolate between neighbouring cells, clamp beyond the last."""
    coarse, cells, stride = Grid(8, origin), 5, 8
    scores = torch.randn(1, 2, cells, 1, dtype=torch.float64)
    layer = Upsampling(2, coarse, stride, IMAGE, edges="repeat", learned=False).double()
    dense = layer(scores, (0, 0), (44, 1))[..., 0]
    for pixel in range(44):
        place = min(max((pixel - origin) / 8, 0), cells - 1)
        low = min(int(place), cells - 2)
        weight = place - low
        expected = (1 - weight) * scores[..., low, 0] + weight * scores[..., low + 1, 0]
        torch.testing.assert_close(dense[..., pixel], expected)


def test_zero_edges_equal_the_plain_transposed_convolution():
    scores = torch.randn(1, 3, 4, 5)
    layer = Upsampling(3, Grid(32, 12.5), 32, IMAGE, edges="zeros", learned=False)
    full = torch.zeros(3, 3, 64, 64)
    full[range(3), range(3)] = bilinear_kernel(64)
    plain = torch.nn.functional.conv_transpose2d(scores, full, stride=32)
    torch.testing.assert_close(layer(scores, (0, 0), (90, 100)), plain[..., 19:109, 19:119])


@pytest.mark.parametrize("backbone", BACKBONES)
def test_fused_maps_lie_where_the_grids_say(backbone):
    """The fused map's cells and the tap's have the same centres."""
    net = small(backbone, "head.channels=4", "head=fc").net.scorer
    for stride, skip in net.skips.items():
        tap = net.backbone.taps[int(stride)].grid
        assert skip.upsampling.grid.step == tap.step == int(stride)
        assert skip.grid == tap.crop(skip.crop)


def test_fixed_net_trains_only_its_last_layer():
    net = network(["model=fcn32s_fixed", "backbone=resnet18"]).train()
    learning = {name for name, p in net.named_parameters() if p.requires_grad}
    assert learning == {"net.scorer.head.score_fr.weight", "net.scorer.head.score_fr.bias"}
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net({"rgb": torch.randn(2, 3, 64, 64)}).sum().backward()
    for name, buffer in net.named_buffers():  # the trunk's statistics do not change either
        assert torch.equal(buffer, before[name])


def test_scaled_skips_equal_plain_ones_with_the_scale_in_their_weights():
    plain, scaled = (network([f"model={m}"]).double() for m in ("fcn8s", "fcn8s_atonce"))
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.normal_()
    scaled.load_state_dict(plain.state_dict())
    for stride, factor in (("16", 0.01), ("8", 0.0001)):
        scaled.scorers()["rgb"].skips[stride].score.weight.data /= factor
    image = {"rgb": torch.randn(1, 3, 70, 90, dtype=torch.float64)}
    torch.testing.assert_close(scaled(image), plain(image), rtol=1e-9, atol=1e-9)


def test_scales_and_trained_are_checked():
    with pytest.raises(
        ConfigError, match=r"model: scales=\[1\]: give one for each of skips=\[16, 8\]"
    ):
        network(["model.scales=[1]"])
    with pytest.raises(ConfigError, match="model.trained=none: allowed are all, scores"):
        network(["model.trained=none"])


def test_learned_upsampling_starts_bilinear_and_covers_the_image():
    """The D2L exercise: kernel 64, stride 32, pad 16, which keeps 320x480 at 320x480."""
    net = network(["backbone=resnet18", "model=fcn32s", "dense=deconv_d2l"])
    layer = net.net.dense.upscore
    weight = torch.zeros(8, 8, 64, 64)
    weight[range(8), range(8)] = bilinear_kernel(64)
    assert torch.equal(layer.weight, weight) and not layer.bias.any()
    assert layer.weight.requires_grad and layer.bias.requires_grad
    for size in ((320, 480), (33, 31)):
        assert net({"rgb": torch.zeros(1, 3, *size)}).shape[2:] == size
    with pytest.raises(ConfigError, match="kernel=60, pad=16: .* try kernel=64 pad=16"):
        network(["backbone=resnet18", "model=fcn32s", "dense=deconv_d2l", "dense.kernel=60"])
