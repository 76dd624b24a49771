"""Nets of segmentation_models.pytorch score as in their library; the extra is asked for kindly."""

import sys

import pytest
import torch
from torch import nn

from fcnexp import build
from fcnexp.config.overrides import checked
from fcnexp.errors import ConfigError

CLASSES = 8  # of data=shapes
ARCHS = ("Unet", "FPN", "DeepLabV3Plus", "Segformer")


def test_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(ConfigError, match=r"needs the extra smp: pip install 'fcnexp\[smp\]'"):
        build.network(["model=smp"])


@pytest.fixture
def smp():
    return pytest.importorskip(
        "segmentation_models_pytorch", reason="the extra smp is not installed"
    )


def pair(smp, arch: str, folder):
    """The library's net with random weights and statistics, and ours from its state dict."""
    torch.manual_seed(0)
    other = getattr(smp, arch)(encoder_name="resnet18", encoder_weights=None, classes=CLASSES)
    for module in other.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    torch.save(other.state_dict(), folder / "net.pth")
    typed = ["model=smp", f"model.arch={arch}", "model.encoder=resnet18", "init=checkpoint"]
    return build.network([*typed, f"init.path={folder / 'net.pth'}"]), other.eval()


@pytest.mark.parametrize("arch", ARCHS)
def test_scores_equal_the_librarys_own(smp, arch, tmp_path):
    net, other = pair(smp, arch, tmp_path)
    for size in ((64, 96), (33, 65), (1, 1)):
        x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
        padded = torch.zeros(2, 3, *(side + -side % 32 for side in size))
        padded[..., : size[0], : size[1]] = x
        with torch.inference_mode():
            found = net({"rgb": x})
            expected = other(padded)[..., : size[0], : size[1]]
        assert found.shape == (2, CLASSES, *size) and expected.std() > 0
        if arch != "DeepLabV3Plus" or size == (64, 96):  # it is padded to 16 only
            assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_imagenet_weights_are_read_from_a_file_and_widened(smp, tmp_path):
    save = pytest.importorskip("safetensors.torch").save_file
    torch.manual_seed(0)
    weights = smp.encoders.get_encoder("resnet18", weights=None).state_dict()
    save(weights, tmp_path / "resnet18.imagenet.safetensors")
    typed = ["model=smp", "model.encoder=resnet18", "init=imagenet", f"init.folder={tmp_path}"]
    cfg = checked([*typed, "data=rooms", "modality=rgbd", "modality.rgb.order=rgb"])
    net, _ = build.build_net(cfg, {"class": CLASSES})
    build.first_weights(cfg, net)
    own = net.scorers()["rgb"].backbone.trunk.state_dict()
    first = weights.pop("conv1.weight")
    assert torch.allclose(own["conv1.weight"], torch.cat([first, first.mean(1, keepdim=True)], 1))
    assert all(torch.equal(own[name], value) for name, value in weights.items())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.arch=DPT"], "arch=DPT: allowed are Unet, "),
        (["model.encoder=vgg61"], "encoder=vgg61: allowed are resnet18, "),
        (["model.arch=PAN", "model.encoder=resnet18", "head=fc"], "takes no head"),
    ],
)
def test_unknown_names_are_refused(smp, overrides, message):
    with pytest.raises(ConfigError, match=message):
        build.network(["model=smp", *overrides])


def test_an_encoder_of_many_kinds_runs(smp):
    for encoder in ("mit_b0", "mobilenet_v2"):
        net = build.network(["model=smp", f"model.encoder={encoder}"])
        with torch.inference_mode():
            assert net({"rgb": torch.zeros(1, 3, 33, 40)}).shape == (1, CLASSES, 33, 40)
