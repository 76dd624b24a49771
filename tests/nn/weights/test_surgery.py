"""Weights transplanted by layer name: copied, reshaped, or refused."""

import numpy as np
import pytest
import torch
from caffe_files import write_caffemodel, write_caffemodel_v1
from torch import nn

from fcnexp.build import network
from fcnexp.errors import WeightsError
from fcnexp.nn.weights import caffe_names
from fcnexp.nn.weights.surgery import load_blobs


class TwoLayers(nn.Module):
    """fc6 as a 2x2 convolution, and a score layer for two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc6, self.score = nn.Conv2d(3, 4, 2), nn.Conv2d(4, 2, 1)

    def layers(self) -> dict[str, nn.Module]:
        return {"fc6": self.fc6, "score_fr": self.score}

    def score_layers(self) -> dict[str, nn.Module]:
        return {"score_fr": self.score}


def blobs_of(net: nn.Module) -> dict[str, list[np.ndarray]]:
    """Random blobs in the shapes of the net's parameters."""
    rng = np.random.default_rng(0)
    return {
        name: [rng.standard_normal(p.shape, dtype=np.float32) for p in layer.parameters()]
        for name, layer in net.layers().items()
    }


def test_blobs_are_copied_by_name():
    net = TwoLayers()
    blobs = blobs_of(net)
    report = load_blobs(net, blobs)
    assert report.copied == ["fc6", "score_fr"] and not report.new and not report.unused
    for name, layer in net.layers().items():
        for parameter, blob in zip(layer.parameters(), blobs[name], strict=True):
            np.testing.assert_array_equal(parameter.detach().numpy(), blob)


@pytest.mark.parametrize("shape", [(4, 12), (1, 1, 4, 12)])
def test_fully_connected_blob_becomes_a_convolution(shape):
    net = TwoLayers()
    blobs = blobs_of(net)
    weight = blobs["fc6"][0].copy()
    blobs["fc6"] = [weight.reshape(shape), blobs["fc6"][1].reshape(1, 1, 1, 4)]
    assert load_blobs(net, blobs).reshaped == ["fc6"]
    image = torch.randn(1, 3, 2, 2)
    expected = image.flatten() @ torch.from_numpy(weight.reshape(4, 12)).T + net.fc6.bias
    torch.testing.assert_close(net.fc6(image).flatten(), expected)


def test_scores_for_other_classes_stay_new_and_unused_layers_are_reported():
    net = TwoLayers()
    blobs = blobs_of(net)
    blobs["score_fr"] = [np.zeros((5, 4, 1, 1), np.float32), np.zeros(5, np.float32)]
    blobs["fc8"] = [np.zeros((10, 4), np.float32)]
    with pytest.raises(
        WeightsError, match=r"\(score_fr\), or has them for another number of classes"
    ):
        load_blobs(net, blobs)
    report = load_blobs(net, blobs, strict=False)
    assert list(report.new) == ["score_fr"] and report.unused == ["fc8"]
    assert report.line() == "copied 1 layers; new score_fr; not used fc8"


def test_missing_layer_is_refused_and_nothing_is_copied():
    net = TwoLayers()
    before = net.fc6.weight.clone()
    with pytest.raises(WeightsError, match=r"no blobs for 1 of the net's 2 layers \(fc6\)"):
        load_blobs(net, {"score_fr": blobs_of(net)["score_fr"]})
    assert torch.equal(net.fc6.weight, before)
    load_blobs(net, {"score_fr": blobs_of(net)["score_fr"]}, strict=False)


@pytest.mark.parametrize(
    ("blobs", "message"),
    [
        ([np.zeros((4, 3, 3, 3), np.float32), np.zeros(4, np.float32)], r"fc6 is \(4, 3, 3, 3\)"),
        ([np.zeros((4, 2, 3, 2), np.float32), np.zeros(4, np.float32)], r"fc6 is \(4, 2, 3, 2\)"),
        ([np.zeros((12, 4), np.float32), np.zeros(4, np.float32)], r"fc6 is \(12, 4\)"),
        ([np.zeros((4, 3, 2, 2), np.float32)], "fc6 has 1 blobs; the net's has 2"),
    ],
)
def test_error_on_a_blob_that_does_not_fit_names_its_layer(blobs, message):
    net = TwoLayers()
    with pytest.raises(WeightsError, match=message):
        load_blobs(net, blobs_of(net) | {"fc6": blobs})


def test_score_that_does_not_fit_is_refused_and_nothing_is_copied():
    net = TwoLayers()
    before = net.fc6.weight.clone()
    blobs = blobs_of(net) | {"score_fr": [np.zeros((2, 7), np.float32), np.zeros(2, np.float32)]}
    with pytest.raises(WeightsError, match=r"score_fr is \(2, 7\)"):
        load_blobs(net, blobs, strict=False)
    assert torch.equal(net.fc6.weight, before)


def test_googlenet_loads_a_complete_caffemodel(tmp_path):
    """Every layer of the trunk has an original name, and both formats load."""
    trunk = network(["backbone=googlenet", "model=fcn32s"])
    blobs = {
        name: [np.random.default_rng(0).standard_normal(p.shape, dtype=np.float32) for p in tensors]
        for name, tensors in caffe_names.blobs(trunk).items()
        if name != "score_fr"
    }
    assert len(blobs) == 57
    for write in (write_caffemodel, write_caffemodel_v1):
        path = tmp_path / f"{write.__name__}.caffemodel"
        write(path, blobs)
        net = network(["backbone=googlenet", "init=caffemodel", f"init.path={path}"])
        weight = caffe_names.blobs(net)["inception_4d/5x5_reduce"][0].detach().numpy()
        np.testing.assert_array_equal(weight, blobs["inception_4d/5x5_reduce"][0])


def test_the_file_of_a_different_net_is_refused(tmp_path):
    path = tmp_path / "other.caffemodel"
    write_caffemodel(path, {"conv9": [np.zeros((2, 2), np.float32)]})
    with pytest.raises(WeightsError, match=r"other\.caffemodel: .*it has conv9"):
        network(["backbone=googlenet", "init=caffemodel", f"init.path={path}"])
    with pytest.raises(WeightsError, match="Tiny has no Caffe original"):
        network(["backbone=tiny", "init=caffemodel", f"init.path={path}"])
    with pytest.raises(WeightsError, match=r"Caffe's nets take BGR .* choose modality=rgb"):
        network(
            [
                "backbone=vgg16",
                "modality=rgb_torchvision",
                "init=caffemodel",
                f"init.path={path}",
            ]
        )


def test_a_classifiers_file_may_leave_the_scores_new():
    net = TwoLayers()
    report = load_blobs(net, {"fc6": blobs_of(net)["fc6"], "fc8": [np.zeros((10, 4), np.float32)]})
    assert list(report.new) == ["score_fr"]


def test_a_classifiers_file_may_leave_nothing_else_new():
    net = TwoLayers()
    net.layers = lambda: {"fc6": net.fc6, "fc7": nn.Conv2d(4, 4, 1), "score_fr": net.score}
    with pytest.raises(WeightsError, match=r"no blobs for 1 of the net's 3 layers \(fc7\)"):
        load_blobs(net, {"fc6": blobs_of(net)["fc6"]})


@pytest.mark.parametrize("form", [lambda b: b.reshape(1, 1, 2, 4), lambda b: b.reshape(2, 4)])
def test_scores_stored_as_a_matrix_are_loaded(form):
    net = TwoLayers()
    blobs = blobs_of(net)
    weight, bias = blobs["score_fr"]
    report = load_blobs(net, blobs | {"score_fr": [form(weight), bias.reshape(1, 1, 1, 2)]})
    np.testing.assert_array_equal(net.score.weight.detach().numpy(), weight)
    assert report.reshaped == ["score_fr"] and not report.new


@pytest.mark.parametrize(
    "made", [lambda b: b[:, ::-1], lambda b: b.astype(">f4"), lambda b: b.astype(float).tolist()]
)
def test_views_other_dtypes_and_lists_are_loaded(made):
    net = TwoLayers()
    weight, bias = blobs_of(net)["fc6"]
    load_blobs(net, blobs_of(net) | {"fc6": [made(weight), bias]})
    expected = np.array(made(weight), np.float32)
    np.testing.assert_array_equal(net.fc6.weight.detach().numpy(), expected)


@pytest.mark.parametrize("blobs", [[], [np.float32(1)], ["words"]])
def test_invalid_blobs_are_refused(blobs):
    net = TwoLayers()
    with pytest.raises(WeightsError, match="layer fc6 has"):
        load_blobs(net, blobs_of(net) | {"fc6": blobs})
