"""Fusion deeper than the paper's, single taps, and a last pooling with stride 1."""

import numpy as np
import pytest
import torch
from dense_nets import randomise

from fcnexp import build
from fcnexp.build import network
from fcnexp.config.compose import compose_run
from fcnexp.errors import ConfigError
from fcnexp.nn.inspection.trace import trace
from fcnexp.nn.weights.caffe_names import blobs
from fcnexp.nn.weights.surgery import load_blobs
from fcnexp.run.staging import stages

NARROW = {"tiny": ["backbone.widths=[4,4,6,6,8,8]"], "vgg16": ["head.channels=8"]}
FINEST = {"alexnet": 4, "googlenet": 2, "resnet18": 2, "tiny": 1, "vgg16": 1}
MODELS = {"fcn4s": 4, "fcn2s": 2, "fcn1s": 1}


@pytest.mark.parametrize("backbone", FINEST)
@pytest.mark.parametrize("model", MODELS)
def test_every_fusion_depth_gives_scores_of_the_images_size(backbone, model):
    choice = [f"backbone={backbone}", f"model={model}", *NARROW.get(backbone, [])]
    if FINEST[backbone] > MODELS[model]:
        depths = [s for s in (32, 16, 8, 4, 2, 1) if s >= FINEST[backbone]]
        models = ", ".join(f"fcn{s}s" for s in depths)
        with pytest.raises(
            ConfigError, match=f"model: skips=.*no tap of stride .* model={models}$"
        ):
            network(choice)
        return
    net = network(choice)
    assert net.scorers()["rgb"].grid.step == MODELS[model]
    for size in ((1, 1), (33, 50)):
        with torch.inference_mode():
            assert net({"rgb": torch.zeros(1, 3, *size)}).shape == (1, 8, *size)


@pytest.mark.parametrize("backbone", FINEST)
@torch.inference_mode()
def test_a_constant_in_each_skip_reaches_every_pixel_equally(backbone):
    """With biases of 1 and no weights, every pixel scores the number of score layers."""
    model = next(m for m, stride in reversed(MODELS.items()) if stride >= FINEST[backbone])
    net = network(
        [f"backbone={backbone}", f"model={model}", "dense.edges=repeat", *NARROW.get(backbone, [])]
    )
    for layer in net.score_layers():
        layer.weight.zero_()
        layer.bias.fill_(1)
    scores = net({"rgb": torch.randn(1, 3, 45, 52)})
    torch.testing.assert_close(scores, torch.full_like(scores, len(net.score_layers())))


@pytest.mark.parametrize(("model", "stride"), [("fcn_pool4", 16), ("fcn_pool3", 8)])
@torch.inference_mode()
def test_a_single_tap_is_scored_and_the_trunk_ends_there(model, stride):
    """PAMI's FCN-pool4 and FCN-pool3: fcn8s up to this tap, then a 1x1 scoring."""
    net = randomise(network(["backbone=vgg16", f"model={model}"]))
    whole = network(["backbone=vgg16", "model=fcn8s", "head.channels=8"])
    trunk = net.net.scorer.backbone.state_dict()
    whole.net.scorer.backbone.load_state_dict(trunk, strict=False)
    image = torch.randn(1, 3, 40, 33, dtype=torch.float64)
    net.double(), whole.double()
    taps = whole.net.scorer.backbone(image)
    expected = net.net.scorer.head.score_fr(taps[stride])
    torch.testing.assert_close(net.net.scorer(image), expected)
    names = [name for name, _ in net.net.scorer.backbone.named_children()]
    assert names[-1] == {16: "pool4", 8: "pool3"}[stride]
    assert set(net.net.scorer.backbone.layers()) == {n for n in names if n.startswith("conv")}
    assert net.net.scorer.grid.step == stride


@pytest.mark.parametrize(
    ("backbone", "deepest"),
    [(b, s) for b, finest in FINEST.items() for s in (2, 4, 8) if s >= finest],
)
def test_cut_trunks_hold_exactly_the_layers_they_need(backbone, deepest):
    """Every remaining parameter gets a gradient."""
    choice = [f"backbone={backbone}", "model=fcn32s", "head=linear", f"model.deepest={deepest}"]
    net = randomise(network([*choice, *NARROW.get(backbone, [])[: 1 if backbone == "tiny" else 0]]))
    net.train()({"rgb": torch.randn(2, 3, 40, 40)}).square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    backbone = net.scorers()["rgb"].backbone
    assert max(backbone.taps) == deepest
    held = {id(p) for p in net.parameters()}
    assert all(id(p) in held for layer in backbone.layers().values() for p in layer.parameters())


def test_an_unknown_deepest_tap_is_refused():
    with pytest.raises(
        ConfigError, match="model: no tap of stride 3; choose one of 1, 2, 4, 8, 16, 3"
    ):
        network(["model.deepest=3"])


def test_naming_the_deepest_tap_is_refused_as_a_likely_mistake():
    """With stride 1, pool5 is the tap of stride 16, so FCN-pool4 does not exist."""
    with pytest.raises(ConfigError, match="model: deepest=16: already this backbone's deepest tap"):
        network(["backbone=alexnet", "backbone.pool5_stride=1", "model=fcn_pool4"])


def test_models_are_suggested_only_for_trunks_of_stride_32():
    wide = ["backbone=alexnet", "backbone.pool5_stride=1", "head=linear"]
    with pytest.raises(
        ConfigError, match="below its deepest, 16; it has 8, 4: set model.skips and model"
    ):
        network([*wide, "model=fcn8s"])
    net = network([*wide, "model.skips=[8]", "model.scales=[1]"])
    assert net.net.scorer.grid.step == 8


@pytest.mark.parametrize("model", ["fcn2s", "fcn_pool4"])
@pytest.mark.parametrize("dense", ["deconv_learned", "bilinear", "shift_and_stitch"])
def test_trace_reports_every_parameter_and_the_map_of_pixels(model, dense):
    cfg = compose_run(["backbone=tiny", f"model={model}", f"dense={dense}", "model.fusion=max"])
    net, inputs = build.on_meta(cfg, {"class": 5}, (65, 97))
    maps = trace(net, inputs)
    assert sum(each.parameters for each in maps) == sum(p.numel() for p in net.parameters())
    assert (maps[-1].shape, maps[-1].grid) == ((5, 65, 97), (1, 0))
    assert sum(each.kind == "maximum" for each in maps) == (4 if model == "fcn2s" else 0)


def test_stages_continue_to_any_depth(tmp_path):
    cfg = compose_run(["model=fcn2s", "init=staged", "init@init.first=scratch"])
    found = stages(cfg, tmp_path)
    assert [stage.name for stage in found] == ["fcn32s", "fcn16s", "fcn8s", "fcn4s", "fcn2s"]
    assert [list(stage.cfg.model.skips) for stage in found][2:4] == [[16, 8], [16, 8, 4]]


@pytest.mark.parametrize(("backbone", "kernel"), [("vgg16", 14), ("alexnet", 12)])
def test_pool5_of_stride_1_keeps_the_receptive_field_through_a_wider_fc6(backbone, kernel):
    """Sec. 4.2; the wider window ends half a coarse cell (of 32 pixels) earlier."""
    fields = {}
    for stride in (2, 1):
        cfg = compose_run(
            [f"backbone={backbone}", "model=fcn32s", f"backbone.pool5_stride={stride}"]
        )
        maps = trace(*build.on_meta(cfg, {"class": 5}, (65, 97)))
        score = next(each for each in maps if each.name == "score_fr")
        fields[stride] = score.receptive_field
        assert score.grid.step == 16 * stride
        fc6 = next(each for each in maps if each.name == "fc6")
        assert fc6.window.kernel == (kernel if stride == 1 else kernel // 2)
    assert fields[1] == fields[2] + 16


@torch.inference_mode()
def test_a_wider_fc6_starts_as_the_files_filter_dilated():
    """After a pool5 of stride 1, every other cell has the inputs that fc6 had."""
    plain = randomise(network(["backbone=alexnet", "model=fcn32s", "head.channels=6"]))
    own = {n: [t.numpy().copy() for t in tensors] for n, tensors in blobs(plain).items()}
    own["fc6"][0] = own["fc6"][0].reshape(1, 1, 6, -1)  # the shape in a classifier's file
    choice = ["backbone=alexnet", "model=fcn32s", "head.channels=6", "backbone.pool5_stride=1"]
    wide = network(choice)
    report = load_blobs(wide, own)
    assert report.spread == ["fc6"]
    image = torch.randn(1, 3, 120, 90)
    expected, found = plain.net.scorer(image), wide.net.scorer(image)[..., ::2, ::2]
    inner = tuple(slice(0, side - 1) for side in expected.shape[-2:])  # the last go past the edge
    torch.testing.assert_close(found[..., *inner], expected[..., *inner], rtol=1e-4, atol=1e-5)
    assert np.count_nonzero(wide.net.scorer.head.fc6.weight) <= own["fc6"][0].size


def test_other_strides_of_pool5_are_refused():
    with pytest.raises(
        ConfigError, match=r"backbone: pool5_stride=3: allowed are 2 \(as published\)"
    ):
        network(["backbone=vgg16", "backbone.pool5_stride=3"])
