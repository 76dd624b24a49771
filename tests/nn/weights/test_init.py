"""Initial weights: random, published, from an earlier run's checkpoint."""

import urllib.error
import urllib.request

import pytest
import torch

from fcnexp.build import network
from fcnexp.errors import WeightsError
from fcnexp.nn.backbones.base import PublishedWeights
from fcnexp.nn.weights import download
from fcnexp.nn.weights.caffe_names import blobs
from fcnexp.nn.weights.checkpoints import parent_weights

WEIGHTS = PublishedWeights(
    "net.bin", "http://weights.invalid/net.bin", "2c26b46b68ffc68ff99b", "sha256"
)  # of b"foo"


def test_the_seed_determines_the_weights():
    first, again, other = (network([f"seed={seed}"]) for seed in (3, 3, 4))
    weights = [next(net.parameters()) for net in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_scratch_is_he_with_zero_scores():
    net = network(["backbone=googlenet", "model=fcn8s"])
    weight = blobs(net)["inception_4a/3x3"][0]
    assert weight.std().item() == pytest.approx((2 / (96 * 9)) ** 0.5, rel=0.02)
    assert all(not layer.weight.any() for layer in net.score_layers())


@pytest.mark.parametrize("backbone", ["alexnet", "vgg16", "googlenet", "resnet18"])
def test_offline_imagenet_error_names_folder_reason_and_alternative(
    backbone, tmp_path, monkeypatch
):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(WeightsError) as caught:
        network([f"backbone={backbone}", "init=imagenet", f"init.folder={tmp_path}"])
    message = str(caught.value)
    assert str(tmp_path) in message and "no network" in message and "init=scratch" in message
    assert not list(tmp_path.iterdir())


def test_imagenet_without_published_weights_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="Tiny has no published weights; use init=scratch"):
        network(["backbone=tiny", "init=imagenet", f"init.folder={tmp_path}"])


def test_an_existing_file_with_the_right_digest_is_used(tmp_path):
    (tmp_path / "net.bin").write_bytes(b"foo")
    assert download.fetch(WEIGHTS, tmp_path) == tmp_path / "net.bin"


def test_a_file_with_the_wrong_digest_is_refused(tmp_path):
    (tmp_path / "net.bin").write_bytes(b"bar")
    message = r"net\.bin: its sha256 is fcde2b.* damaged, or a different file"
    with pytest.raises(WeightsError, match=message):
        download.fetch(WEIGHTS, tmp_path)


@pytest.mark.parametrize(("content", "good"), [(b"foo", True), (b"fo", False)])
def test_a_downloaded_file_is_kept_only_if_its_digest_is_right(
    tmp_path, monkeypatch, content, good
):
    source = tmp_path / "server"
    source.write_bytes(content)
    opened = lambda url, timeout: source.open("rb")  # noqa: E731
    monkeypatch.setattr(urllib.request, "urlopen", opened)
    cache = tmp_path / "cache"
    if good:
        assert download.fetch(WEIGHTS, cache).read_bytes() == content
    else:
        with pytest.raises(WeightsError, match="damaged, or a different file"):
            download.fetch(WEIGHTS, cache)
    assert [p.name for p in cache.iterdir()] == (["net.bin"] if good else [])


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 half a zip"])
def test_damaged_checkpoint_is_named(tmp_path, content):
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"last\.ckpt: damaged, or not a checkpoint"):
        network(["init=checkpoint", f"init.path={path}"])


def test_foreign_and_missing_checkpoints_are_named(tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match=r"other\.ckpt: a torch file, but not a checkpoint of"):
        network(["init=checkpoint", f"init.path={path}"])
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    (tmp_path / "run/checkpoints/last.ckpt").touch()
    with pytest.raises(WeightsError, match=r"run: no such checkpoint; give .*/checkpoints/last.ck"):
        network(["init=checkpoint", f"init.path={tmp_path / 'run'}"])
    with pytest.raises(WeightsError, match=r"gone\.ckpt: no such checkpoint"):
        network(["init=checkpoint", f"init.path={tmp_path / 'gone.ckpt'}"])


def fake_resnet18(folder) -> dict[str, torch.Tensor]:
    """Write random weights in torchvision's layout to `resnet18.pth`."""
    import torchvision

    weights = torchvision.models.resnet18().state_dict()
    torch.save(weights, folder / "resnet18.pth")
    return weights


@pytest.mark.parametrize(("scores", "random"), [("zeros", False), ("xavier", True)])
def test_published_trunk_is_copied_and_scores_are_initialised(
    tmp_path, monkeypatch, scores, random
):
    weights = fake_resnet18(tmp_path)
    monkeypatch.setattr("fcnexp.nn.weights.init.fetch", lambda *_: tmp_path / "resnet18.pth")
    net = network(["backbone=resnet18", "init=imagenet", f"init.scores={scores}"])
    trunk = net.scorers()["rgb"].backbone.trunk
    assert torch.equal(trunk.layer3[1].conv2.weight, weights["layer3.1.conv2.weight"])
    score = net.score_layers()[0].weight
    bound = (6 / (512 + 8)) ** 0.5  # Glorot and Bengio 2010
    assert bool(score.any()) is random and score.abs().max() <= bound
    assert not random or score.abs().max() > 0.9 * bound


def test_first_layer_of_a_published_trunk_is_widened_to_depth(tmp_path, monkeypatch):
    filters = fake_resnet18(tmp_path)["conv1.weight"]
    monkeypatch.setattr("fcnexp.nn.weights.init.fetch", lambda *_: tmp_path / "resnet18.pth")
    torchvisions = ["modality.rgb.order=rgb"]
    net = network(
        ["backbone=resnet18", "modality=rgbd", "init=imagenet", "data=nyud", *torchvisions]
    )
    conv1 = net.scorers()["rgb"].backbone.trunk.conv1.weight
    torch.testing.assert_close(conv1[:, :3], filters)
    torch.testing.assert_close(conv1[:, 3], filters.mean(1))


def test_a_deconvnet_takes_the_trunk_and_head_of_any_fcn():
    """Noh et al. start from a classifier's encoder; score layers and skips are ignored."""
    narrow = ["backbone.widths=[4,4,6,6,8,8]", "head=fc", "head.channels=6"]
    fcn = network([*narrow, "model=fcn8s", "seed=1"])
    stored = {"state_dict": {f"net.{name}": value for name, value in fcn.state_dict().items()}}
    net = network([*narrow, "model=deconvnet"])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    new = parent_weights(net, stored, "fcn8s.ckpt")
    trunk = ("net.scorer.backbone.", "net.scorer.head.")
    assert new and not any(name.startswith(trunk) for name in new)
    for name, value in net.state_dict().items():
        expected = fcn.state_dict() if name.startswith(trunk) else before
        assert torch.equal(value, expected[name])
    with pytest.raises(WeightsError, match=r"fcn8s.ckpt: from a different net; .*size mismatch"):
        parent_weights(
            network(["model=deconvnet", "head=fc", "head.channels=6"]), stored, "fcn8s.ckpt"
        )
