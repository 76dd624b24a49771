"""Trunks of torchvision and timm: their maps lie where sending positions through them found."""

import numpy as np
import pytest
import torch
from torch import nn

from fcnexp import build
from fcnexp.config.compose import compose_run
from fcnexp.errors import ConfigError
from fcnexp.nn.backbones.found import Found, survey, taps_of
from fcnexp.nn.backbones.torchvision import TorchvisionTrunk

DECLARED = ("alexnet", "vgg16", "vgg16_bn", "googlenet", "resnet18", "tiny")
QUICK = ("torchvision/mobilenet_v3_large", "torchvision/convnext_tiny")
MORE = (
    "timm/resnet26",
    *("torchvision/resnet50", "torchvision/regnet_y_400mf", "torchvision/efficientnet_b0"),
    *("torchvision/densenet121", "torchvision/vgg11_bn", "torchvision/googlenet"),
    *("torchvision/inception_v3", "torchvision/shufflenet_v2_x1_0", "torchvision/swin_t"),
    *("timm/tf_efficientnet_b0", "timm/convnextv2_atto", "timm/swin_tiny_patch4_window7_224"),
    *("timm/hrnet_w18_small", "timm/resnet50d", "timm/mobilevit_s", "timm/pvt_v2_b0"),
)
ALL = [*QUICK, *(pytest.param(trunk, marks=pytest.mark.slow) for trunk in MORE)]


def typed(trunk: str, model: str = "fcn8s") -> list[str]:
    library, name = trunk.split("/")
    if library == "timm":
        pytest.importorskip("timm", reason="the extra timm is not installed")
    return [f"backbone={library}", f"backbone.name={name}", f"model={model}"]


def net_of(trunk: str, model: str = "fcn8s", *more: str):
    cfg = compose_run([*typed(trunk, model), *more])
    return build.build_net(cfg, {"class": 2})[0].eval()


@pytest.mark.parametrize("backbone", DECLARED)
def test_found_geometry_is_the_declared_one(backbone):
    with torch.device("meta"):
        trunk = build.part(compose_run([f"backbone={backbone}"]), "backbone", 3)
    found = taps_of(survey(trunk, 3).maps)
    assert {stride: tap for stride, (_, tap) in found.items()} == trunk.taps


def test_torchvisions_resnet_has_the_taps_that_ours_declares():
    with torch.device("meta"):
        found = TorchvisionTrunk(3, "resnet18")
        ours = build.part(compose_run(["backbone=resnet18"]), "backbone", 3)
    assert found.taps == ours.taps and list(found.taps) == list(ours.taps)


def sizes() -> list[tuple[int, int]]:
    """Return 30 sizes: small sides, multiples of strides and their neighbours, and random ones."""
    rng = np.random.default_rng(0)
    some = [(1, 1), (1, 70), (31, 32), (33, 64), (63, 65), (96, 97), (127, 128), (224, 225)]
    return some + [(int(h), int(w)) for h, w in rng.integers(1, 400, (30 - len(some), 2))]


@pytest.mark.parametrize("trunk", ALL)
def test_scores_have_the_images_size(trunk):
    some = sizes()[::3] if trunk in QUICK else sizes()
    with torch.device("meta"):
        net = net_of(trunk)
        for size in some:
            assert net({"rgb": torch.zeros(1, 3, *size)}).shape == (1, 2, *size)


def make_positive(net: nn.Module) -> None:
    """Set random positive weights, with the largest in the middle of each kernel.

    Those of linear layers are equal: some look at four cells, none of which should count more.
    """
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight
            mix = torch.rand(weight.shape[:2], generator=generator) + 0.1
            if isinstance(module, nn.Linear):
                mix = torch.ones_like(mix)
            mix /= mix.sum(1, keepdim=True)
            hill = torch.ones(())
            for side in weight.shape[2:]:
                slope = 0.5 ** (torch.arange(side) - (side - 1) / 2).abs()
                hill = hill[..., None] * slope / slope.sum()
            module.weight.data = mix.view(*weight.shape[:2], *[1] * hill.ndim) * hill
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@pytest.mark.parametrize("trunk", ALL)
def test_a_bright_dot_is_scored_where_it_is(trunk, monkeypatch):
    """The dot is centred on a cell of the coarsest map: 1 pixel wide, or 2 if between pixels."""
    functional = torch.nn.functional
    monkeypatch.setattr(functional, "layer_norm", lambda x, *_, **__: x)  # keep it bright
    # Attention, whose windows are not centred on a cell, is frozen: each cell attends to itself.
    monkeypatch.setattr(functional, "scaled_dot_product_attention", lambda q, k, v, *_, **__: v)
    if trunk == "torchvision/swin_t":
        monkeypatch.setattr(functional, "softmax", lambda x, *_, **__: torch.eye(x.shape[-1]).to(x))
    net = net_of(trunk)
    make_positive(net)
    net.double()
    grid = net.scorers()["rgb"].head.grid
    place = grid.origin + grid.step * round((66 - grid.origin) / grid.step)
    image = torch.zeros(1, 3, 150, 154, dtype=torch.float64)
    low, high = int(np.floor(place)), int(np.ceil(place))
    image[..., low : high + 1, low : high + 1] = 1000
    with torch.inference_mode():
        scores = (net({"rgb": image}) - net({"rgb": image * 0}))[0, 0]
    peak = (scores >= scores.max() * (1 - 1e-9)).nonzero().double().mean(0)
    assert (peak - place).abs().max() <= 0.5, (peak, place)


def gradient(trunk, image: torch.Tensor, stride: int) -> tuple[float, int, int]:
    """Return the middle of the rows that a cell's gradient reaches, their extent, and the cell."""
    maps = trunk(image)[stride]
    cell = maps.shape[2] // 2
    (moved,) = torch.autograd.grad(maps[0, :, cell].sum(), image, retain_graph=True)
    rows = moved.abs().sum((0, 1, 3)).nonzero().flatten()
    assert rows.min() > 0 and rows.max() < image.shape[2] - 1  # the whole field is inside
    return float(rows.min() + rows.max()) / 2, int(rows.max() - rows.min()), cell


@pytest.mark.parametrize(
    ("name", "height"),
    [
        ("mobilenet_v2", 600),
        pytest.param("convnext_tiny", 2000, marks=pytest.mark.slow),
        pytest.param("densenet121", 2400, marks=pytest.mark.slow),
        pytest.param("regnet_x_400mf", 1500, marks=pytest.mark.slow),
    ],
)
def test_real_gradients_are_centred_on_the_cells(name, height, monkeypatch):
    """Independent of the search: autograd of the net itself, with means instead of maxima."""
    pool = torch.nn.functional.avg_pool2d
    monkeypatch.setattr(
        torch.nn.functional,
        "max_pool2d",
        lambda x, k, s=None, p=0, *_, ceil_mode=False, **__: pool(x, k, s, p, ceil_mode),
    )
    trunk = TorchvisionTrunk(3, name).eval()
    make_positive(trunk)
    trunk.double()
    image = torch.rand(1, 3, height, 40, dtype=torch.float64) / 1000  # ReLU6 is linear up to 6
    image.requires_grad_()
    for stride in (8, 32):
        middle, reach, cell = gradient(trunk, image, stride)
        grid = trunk.taps[stride].grid
        assert middle == grid.origin + grid.step * cell
        assert reach == 2 * trunk.radii[stride]


def test_what_the_position_of_a_map_is_made_of():
    """A strided layer moves the first cell; a gate and a shortcut of the same grid do not."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.down = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 3, 2, 1)
            self.gate = nn.Linear(4, 4)

        def forward(self, image):
            fine = self.patch(image)
            fine = fine * self.gate(fine.mean((2, 3))).sigmoid()[:, :, None, None]
            return [fine, self.down(fine) + self.down(torch.relu(fine))]

    found = survey(Net(), 3)
    assert found.mixing == ("means over the image",)
    assert found.maps == (Found(4, 4, 1.5, 1.5, False), Found(4, 8, 1.5, 5.5, False))
    assert (found.multiple, found.least) == (8, 8)  # what does not fill a cell would be lost


def test_paths_that_are_apart_keep_the_first_ones_place():
    class Net(nn.Module):
        def forward(self, image):
            pool = nn.functional.avg_pool2d
            four = pool(image, 4, 4)
            return [four, pool(four, 3, 2, 1) + pool(four, 2, 2)]

    found = survey(Net(), 3)
    assert [each.origin for each in found.maps] == [1.5, 1.5] and found.apart == 2


def test_cells_that_move_with_the_size_make_the_image_a_multiple():
    class Same(nn.Module):  # TensorFlow's padding, of one side or both
        def forward(self, image):
            pads = [n for side in (image.shape[-1], image.shape[-2]) for n in (side % 2, 1)]
            return [nn.functional.avg_pool2d(nn.functional.pad(image, pads), 3, 2)]

    found = survey(Same(), 3)
    assert found.maps[0].origin == 1 and found.multiple == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5", "name=resnet5: torchvision has alexnet, .*resnet50"),
        ("vit_b_16", "name=vit_b_16: takes no images of 128x192: Wrong image height"),
    ],
)
def test_what_gives_no_maps_is_refused(name, message):
    with pytest.raises(ConfigError, match=f"backbone.{message}"):
        build.network(["backbone=torchvision", f"backbone.name={name}"])


def colour_of(trunk: str):
    return build.part(compose_run(typed(trunk)), "modality").fields["rgb"]


def test_input_is_that_of_the_nets_own_settings():
    usual = build.part(compose_run(["modality=rgb_torchvision"]), "modality").fields["rgb"]
    found = colour_of("torchvision/resnet50")
    assert found.order == usual.order == "rgb"
    assert found.mean == pytest.approx(usual.mean) and found.std == pytest.approx(usual.std)
    assert colour_of("torchvision/efficientnet_v2_l").mean == (127.5,) * 3
    with pytest.raises(ConfigError, match="modality: modality=rgb_backbone takes the means of"):
        build.network(["backbone=resnet18", "modality=rgb_backbone"])


def test_input_of_timms_nets_is_their_own():
    assert colour_of("timm/vit_small_patch16_224.augreg_in21k_ft_in1k").mean == (127.5,) * 3


def test_names_that_would_load_files_are_refused():
    with pytest.raises(ConfigError, match="name=hf-hub:some/net: timm has no such net"):
        build.network(typed("timm/hf-hub:some")[:1] + ["backbone.name='hf-hub:some/net'"])


def test_what_sees_the_whole_image_is_not_rarefied():
    with pytest.raises(ConfigError, match="means over the image cannot be rarefied.*shift_and_st"):
        net_of("torchvision/mobilenet_v3_small", "fcn32s", "dense=rarefaction")


def test_weights_are_loaded_by_name_or_refused(tmp_path, monkeypatch):
    """A random net in torchvision's layout, in place of the published file."""
    from torchvision.models import get_model

    from fcnexp.nn.weights import init

    torch.manual_seed(1)
    theirs = get_model("mobilenet_v3_small", weights=None).state_dict()
    torch.save(theirs, tmp_path / "w.pth")
    monkeypatch.setattr(init, "fetch", lambda published, folder: tmp_path / "w.pth")
    net = build.network([*typed("torchvision/mobilenet_v3_small"), "init=imagenet"])
    own = net.scorers()["rgb"].backbone.trunk.state_dict()
    assert len(own) > 200 and all(torch.equal(value, theirs[key]) for key, value in own.items())
    torch.save({k: v for k, v in theirs.items() if "features.5" not in k}, tmp_path / "w.pth")
    with pytest.raises(RuntimeError, match="Missing key.*features.5"):
        build.network([*typed("torchvision/mobilenet_v3_small"), "init=imagenet"])


def test_random_weights_of_timm_are_not_taken_for_published_ones(tmp_path, monkeypatch):
    timm = pytest.importorskip("timm", reason="the extra timm is not installed")
    from fcnexp.errors import WeightsError

    make = timm.create_model
    given = lambda *a, pretrained, pretrained_cfg_overlay=None, cache_dir=None, **k: make(*a, **k)  # noqa: E731
    monkeypatch.setattr(timm, "create_model", given)  # finds nothing, and says nothing
    with pytest.raises(WeightsError, match="resnet10t.* is not in .*was not loaded.*init=scratch"):
        build.network([*typed("timm/resnet10t"), "init=imagenet", f"init.folder={tmp_path}"])


@pytest.mark.slow
@pytest.mark.parametrize("trunk", ["torchvision/mobilenet_v3_small", "timm/convnext_atto"])
def test_onnx_gives_the_same_scores(trunk, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    net = build.network(typed(trunk)).net
    for skip in [net.scorer.head.score_fr, *(s.score for s in net.scorer.skips.values())]:
        nn.init.normal_(skip.weight)
    axes = ({0: "batch", 2: "height", 3: "width"},)
    path, example = str(tmp_path / "net.onnx"), torch.randn(2, 3, 70, 101)
    torch.onnx.export(net, (example,), path, dynamo=True, dynamic_shapes=axes, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in [(1, 65, 97), (3, 33, 47), (2, 64, 64), (1, 131, 40)]:
        image = torch.randn(size[0], 3, *size[1:])
        with torch.inference_mode():
            expected = net(image).numpy()
        found = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
        assert np.abs(expected).max() > 1e-2
        np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
