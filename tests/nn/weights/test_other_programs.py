"""Weights of pytorch-fcn and torchvision, by name and shape; other files are named and refused."""

import argparse
import logging
import zipfile

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torchfcn_nets import FC, SKIPS, THIN, TorchFcn

from fcnexp.build import network
from fcnexp.errors import WeightsError
from fcnexp.nn.backbones import vgg
from fcnexp.nn.fast import border
from fcnexp.nn.weights.checkpoints import read_checkpoint

MODELS = {"FCN32s": "fcn32s", "FCN16s": "fcn16s", "FCN8s": "fcn8s", "FCN8sAtOnce": "fcn8s_atonce"}
NET = ["data=voc", "backbone=vgg16", f"head.channels={FC}"]
IMAGE = torch.randn(1, 3, 65, 97, generator=torch.Generator().manual_seed(0)) * 50


@pytest.fixture
def thin(monkeypatch):
    for module in (vgg, border):
        monkeypatch.setattr(module, "BLOCKS", THIN)


def stored_as(form: str, net: TorchFcn) -> dict:
    weights = net.state_dict()
    if form == "pth":
        return weights
    # As pytorch-fcn's trainer stores it, with a NumPy number.
    return {
        "epoch": 3,
        "iteration": 4000,
        "arch": net.name,
        "optim_state_dict": torch.optim.SGD(net.parameters(), 1e-10).state_dict(),
        "model_state_dict": {f"module.{n}": v for n, v in weights.items()}
        if form == "parallel"
        else weights,
        "best_mean_iu": np.float64(0.62),
    }


def from_file(path, *overrides: str):
    return network([*NET, "init=checkpoint", f"init.path={path}", *overrides])


@torch.inference_mode()
def farthest(net, other: nn.Module) -> float:
    """Largest difference of scores, relative to the largest score."""
    expected = other(IMAGE)
    assert expected.std() > 0
    return ((net({"rgb": IMAGE}) - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("form", ["pth", "old pth", "pth.tar", "parallel"])
@pytest.mark.usefixtures("thin")
def test_pytorch_fcns_nets_give_the_scores_of_a_textbook_net(tmp_path, caplog, name, form):
    torch.manual_seed(0)
    theirs, path = TorchFcn(name, 21), tmp_path / f"{name}.{form.split()[-1]}"
    content = stored_as(form.removeprefix("old "), theirs)
    torch.save(content, path, _use_new_zipfile_serialization=form != "old pth")
    with caplog.at_level(logging.INFO):
        net = from_file(path, f"model={MODELS[name]}")
    assert farthest(net, theirs) < 1e-5
    line = next(m for m in caplog.messages if "copied" in m)
    assert (
        f"pytorch-fcn's {name if form in ('pth.tar', 'parallel') else name[:6].rstrip('A')}" in line
    )
    assert f"copied {16 + len(SKIPS[name])} layers" in line and "new none" in line
    assert "not used" not in line


@pytest.mark.usefixtures("thin")
def test_trained_upsampling_needs_dense_deconv_all(tmp_path):
    theirs = TorchFcn("FCN8s", 21, learned=True)
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    assert farthest(from_file(tmp_path / "a.pth", "dense=deconv_all"), theirs) < 1e-5
    with pytest.raises(
        WeightsError, match=r"a\.pth: pytorch-fcn's FCN8s: layer upscore\w+ is fixed"
    ):
        from_file(tmp_path / "a.pth")


@pytest.mark.usefixtures("thin")
def test_a_net_with_one_skip_more_starts_from_the_file(tmp_path, caplog):
    theirs = TorchFcn("FCN16s", 21)
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    with caplog.at_level(logging.INFO):
        net = from_file(tmp_path / "a.pth", "model=fcn8s")
    own = net.scorers()["rgb"].layers()
    assert torch.equal(own["score_pool4"].weight, theirs.score_pool4.weight)
    assert not own["score_pool3"].weight.any() and "new score_pool3" in caplog.text


@pytest.mark.usefixtures("thin")
def test_pytorch_fcns_files_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "net.pth.tar"
    whole = stored_as("pth.tar", TorchFcn("FCN8s", 21))

    def refused(message: str, *overrides: str, **changes) -> None:
        weights = {n: v for n, v in (whole["model_state_dict"] | changes).items() if v is not None}
        torch.save(whole | {"model_state_dict": weights}, path)
        with pytest.raises(WeightsError, match=message) as caught:
            from_file(path, *overrides)
        assert str(path) in str(caught.value)

    refused("FCN8s: another net: choose model=fcn8s", "model=fcn32s")
    refused("FCN8s: another net: choose model=fcn8s", "model=fcn8s_atonce")
    refused(
        "takes BGR, but the modality gives RGB; choose modality=rgb", "modality=rgb_torchvision"
    )
    refused("but the backbone is GoogLeNet", "backbone=googlenet", "head=fc")
    refused(r"no blobs for 1 of .*\(conv4_2\)", **{"conv4_2.weight": None, "conv4_2.bias": None})
    refused("layer fc7 has 1 blobs", **{"fc7.bias": None})
    refused(r"layer conv2_1 is \(4, 3, 3, 3\)", **{"conv2_1.weight": torch.ones(4, 3, 3, 3)})
    refused("conv1_1.bias holds NaN", **{"conv1_1.bias": torch.full((4,), float("nan"))})
    refused("score_fr.*another number of classes", "data=shapes")


@pytest.mark.parametrize("name", ["vgg16", "vgg16_bn"])
@pytest.mark.usefixtures("thin")
def test_torchvisions_vgg_becomes_trunk_and_head(tmp_path, caplog, name):
    torch.manual_seed(0)
    cut = [w for width, depth in THIN for w in [*[width] * depth, "M"]]
    features = torchvision.models.vgg.make_layers(cut, batch_norm=name == "vgg16_bn")
    theirs = torchvision.models.VGG(features, num_classes=10)
    theirs.classifier = nn.Sequential(
        nn.Linear(8 * 49, FC), nn.ReLU(), nn.Dropout(), nn.Linear(FC, FC), nn.ReLU(), nn.Dropout(),
        nn.Linear(FC, 10),
    )  # fmt: skip
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
    stored = {"model": theirs.state_dict(), "epoch": 3, "args": argparse.Namespace(lr=0.1)}
    torch.save(stored, tmp_path / "net.pth")
    typed = ["modality=rgb_torchvision", f"backbone={name}", "backbone.pad=1", "model=fcn32s"]
    with caplog.at_level(logging.INFO):
        net = from_file(tmp_path / "net.pth", *typed)
    assert f"torchvision's {name}: copied" in caplog.text and "not used classifier.6" in caplog.text
    scorer, image = net.scorers()["rgb"], torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        maps = scorer.backbone(image)[32]
        torch.testing.assert_close(maps, theirs.eval().features(image), rtol=1e-4, atol=1e-4)
        fc7 = theirs.classifier[:5](maps.flatten(1))
        scorer.head.score_fr = None
        torch.testing.assert_close(scorer.head(maps)[..., 0, 0], fc7)
    with pytest.raises(
        WeightsError, match="takes RGB, but the modality gives BGR.*vgg16_from_caffe"
    ):
        from_file(tmp_path / "net.pth", *typed, "modality=rgb")
    other = {"vgg16": "vgg16_bn", "vgg16_bn": "vgg16"}[name]
    with pytest.raises(
        WeightsError, match=f"torchvision's {name}: the backbone is VGG16 with batch"
    ):
        from_file(tmp_path / "net.pth", *typed, f"backbone={other}")


@pytest.mark.parametrize("form", ["classifier", "segmentation"])
def test_torchvisions_resnet_becomes_the_trunk(tmp_path, caplog, form):
    theirs = torchvision.models.resnet18()
    weights = {n: torch.rand_like(v.float()) + 0.5 for n, v in theirs.state_dict().items()}
    if form == "segmentation":
        weights = {f"backbone.{n}": v for n, v in weights.items() if not n.startswith("fc.")}
        weights["classifier.0.weight"] = torch.ones(4, 512, 3, 3)
    torch.save(weights, tmp_path / "net.pth")
    with caplog.at_level(logging.INFO):
        net = network(["backbone=resnet18", "init=checkpoint", f"init.path={tmp_path}/net.pth"])
    own = net.scorers()["rgb"].backbone.trunk.state_dict()
    prefix = "backbone." if form == "segmentation" else ""
    for name, value in own.items():
        assert name.endswith("num_batches_tracked") or torch.equal(value, weights[prefix + name])
    unused = "classifier.0" if form == "segmentation" else "fc"
    assert "copied 40 layers; new scorer.head.score_fr.weight" in caplog.text
    assert caplog.messages[-1].endswith(f"not used {unused}")


def test_torchvisions_resnet_that_does_not_fit_is_refused(tmp_path):
    weights = torchvision.models.resnet18().state_dict()
    path = tmp_path / "net.pth"
    typed = ["backbone=resnet18", "init=checkpoint", f"init.path={path}"]
    torch.save({n: v for n, v in weights.items() if n != "layer3.0.bn1.bias"}, path)
    with pytest.raises(
        WeightsError, match=r"ResNet: it has 99 of the 100 .*: trunk\.layer3\.0\.bn1"
    ):
        network(typed)
    torch.save(weights | {"layer1.0.conv1.weight": torch.ones(64, 32, 3, 3)}, path)
    with pytest.raises(WeightsError, match=r"layer1\.0\.conv1\.weight is \(64, 32, 3, 3\)"):
        network(typed)


def one(name: str, *shape: int):
    return lambda path: torch.save({name: torch.ones(shape)}, path)


def zipped(*names: str):
    def write(path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            for name in names:
                file.writestr(name, b"hello")

    return write


OTHERS = {  # file, how it is written, what is said of it
    "alexnet.pth": (
        one("features.0.weight", 64, 3, 11, 11),
        "torchvision's alexnet; it is not the paper's.*backbone=alexnet init=imagenet",
    ),
    "googlenet.pth": (
        one("inception3a.branch1.conv.weight", 1),
        "torchvision's googlenet; it is not the paper's.*backbone=googlenet init=imagenet",
    ),
    "mmseg.pth": (one("decode_head.conv_seg.weight", 2), "mmsegmentation's net.*0 of the"),
    "mine.pth": (one("layer.weight", 2), "a state dict with the layers layer.weight .*0 of the"),
    "optimiser.pth": (lambda p: torch.save({"lr": 1}, p), r"no state dict \(its entries: lr\)"),
    "tensor.pth": (lambda p: torch.save(torch.ones(1), p), "a single tensor; give a state dict"),
    "list.pth": (lambda p: torch.save([1], p), "a list, without weights by name"),
    "whole.pth": (
        lambda p: torch.save(torchvision.models.squeezenet1_1(), p),
        r"which could run code; if a whole net was pickled \(.*torch\.save\(net\.state_dict",
    ),
    "script.pt": (zipped("net/constants.pkl"), "a TorchScript program.*torch.jit.load"),
    "arrays.npz": (zipped("a.npy"), "NumPy arrays"),
    "net.h5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n"), "an HDF5 file.*init=caffemodel"),
    "net.mat": (lambda p: p.write_bytes(b"MATLAB 5.0 MAT-file"), "a MATLAB file"),
    "net.bin": (
        lambda p: p.write_bytes(bytes([20, 0, 0, 0, 0, 0, 0, 0]) + b'{"a":{}}'),
        r"a safetensors file, whose name must end in \.safetensors",
    ),
    "cut.safetensors": (lambda p: p.write_bytes(bytes([20]) + bytes(7) + b'{"a'), "damaged"),
    "net.caffemodel": (lambda p: p.write_bytes(b"\n\x03net"), "init=caffemodel init.path=FILE"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_cannot_be_read_is_named_with_what_reads_it(tmp_path, name):
    write, message = OTHERS[name]
    write(tmp_path / name)
    with pytest.raises(WeightsError, match=message) as caught:
        network(["init=checkpoint", f"init.path={tmp_path / name}"])
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.usefixtures("thin")
def test_safetensors_file_fills_a_net_as_the_torch_file_does(tmp_path):
    theirs = TorchFcn("FCN16s", 21)
    save_file(theirs.state_dict(), tmp_path / "a.safetensors")
    assert farthest(from_file(tmp_path / "a.safetensors", "model=fcn16s"), theirs) < 1e-5


@pytest.mark.usefixtures("thin")
def test_other_commands_say_what_reads_the_file(tmp_path):
    torch.save(TorchFcn("FCN16s", 21).state_dict(), tmp_path / "a.pth")
    message = (
        "not a checkpoint of fcnexp: pytorch-fcn's FCN16s; fcnexp.train reads it .*model=fcn16s"
    )
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(tmp_path / "a.pth")
    torch.save({}, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match=r"before torch 1\.6; if it holds .*init=checkpoint"):
        read_checkpoint(tmp_path / "b.pth")
