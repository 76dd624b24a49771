"""The ImageNet classifier applied as a convolution."""

import numpy as np
import pytest
import torch
from caffe_files import write_caffemodel, write_caffemodel_v1

from fcnexp.errors import WeightsError
from fcnexp.nn.backbones.googlenet import GoogLeNetClassifier
from fcnexp.nn.geometry import Grid
from fcnexp.nn.inspection.class_map import class_map, load_classifier, whole_image
from fcnexp.nn.inspection.fc_classifiers import FcClassifier, alexnet, vgg16


def photograph(height: int, width: int) -> torch.Tensor:
    return torch.randint(256, (3, height, width), dtype=torch.uint8)


@pytest.fixture(scope="module")
def net() -> GoogLeNetClassifier:
    """Random weights, scaled so that scores depend on the image and no single class dominates."""
    torch.manual_seed(0)
    classifier = GoogLeNetClassifier().eval()
    for module in classifier.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    classifier.classifier.weight.data *= 0.05
    return classifier


@torch.inference_mode()
def test_at_the_classifiers_own_size_the_map_is_one_cell_with_equal_probabilities(net):
    rgb = photograph(224, 224)
    found = class_map(net, rgb)
    assert found.probabilities.shape == (1000, 1, 1)
    torch.testing.assert_close(found.probabilities[:, 0, 0], whole_image(net, rgb))
    other = class_map(net, rgb.flip(0)).probabilities  # the probabilities depend on the image
    assert ((found.probabilities / other - 1).abs() > 0.01).sum() > 100
    assert torch.equal(found.of_pixels([7, 3], (5, 6))[1, 4, 5], found.probabilities[3, 0, 0])


@torch.inference_mode()
def test_cell_of_a_larger_photograph_is_the_mean_over_its_window(net):
    rgb = photograph(288, 320)
    found = class_map(net, rgb)
    assert found.probabilities.shape == (1000, 3, 4)
    taps = net.trunk(torch.stack([rgb[2] - 104.0, rgb[1] - 117.0, rgb[0] - 123.0])[None])
    mean = taps[32][0, :, 2:9, 1:8].mean((1, 2))
    expected = (net.classifier.weight @ mean + net.classifier.bias).softmax(0)
    torch.testing.assert_close(found.probabilities[:, 2, 1], expected)
    # 7x7 of stride 2, pad 3; four poolings 3x3 of stride 2; a window of 7 cells of 32.
    assert found.grid == Grid(32, 2 + 4 + 8 + 16 + 3 * 32)
    assert found.box() == (110, 110, 110 + 3 * 32, 110 + 4 * 32)


def test_file_without_the_classifiers_last_layer_is_refused(tmp_path, net):
    layers = {
        name: [p.detach().numpy() for p in (layer.weight, layer.bias)]
        for name, layer in net.trunk.layers().items()
    }
    write_caffemodel(tmp_path / "trunk.caffemodel", layers)
    with pytest.raises(WeightsError, match="trunk.caffemodel: .*loss3/classifier"):
        load_classifier(tmp_path / "trunk.caffemodel")


WIDTH = 16  # of fc6 and fc7; 4096 as published


def blobs_of(make, seed: int = 0) -> dict[str, list[np.ndarray]]:
    """Random blobs as in the classifier's file: fc6 to fc8 are matrices."""
    torch.manual_seed(seed)
    blobs = {}
    for name, layer in make(WIDTH).layers().items():
        torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        weight = layer.weight.detach().numpy() * (0.05 if name == "fc8" else 1)
        flat = weight.reshape(len(weight), -1) if name.startswith("fc") else weight
        blobs[name] = [flat, layer.bias.detach().numpy()]
    return blobs


def slid(net: FcClassifier, blobs: dict, rgb: torch.Tensor) -> torch.Tensor:
    """Probabilities (1000, h, w) by the file's matrices, on one window of the map at a time."""
    mean = torch.tensor(net.mean).view(3, 1, 1)
    (deepest,) = net.trunk(rgb.flip(0)[None] - mean)[32]
    side = {"AlexNet": 6, "VGG16": 7}[type(net.trunk).__name__]
    size = [n - side + 1 for n in deepest.shape[1:]]
    found = torch.zeros(1000, *size)
    for row, column in np.ndindex(*size):
        values = deepest[:, row : row + side, column : column + side].numpy().ravel()
        for name in ("fc6", "fc7", "fc8"):
            weight, bias = blobs[name]
            values = weight @ values + bias
            values = values if name == "fc8" else values.clip(0)
        found[:, row, column] = torch.from_numpy(values).softmax(0)
    return found


@torch.inference_mode()
@pytest.mark.parametrize(
    ("make", "size", "cells"),
    [
        (alexnet, (375, 500), (6, 10)),  # conv1 92x123; pools 46x61, 23x30, 11x15 (Caffe's, up)
        (alexnet, (227, 227), (1, 1)),
        (alexnet, (500, 500), (10, 10)),  # sec. 3.1: "a 10 x 10 grid from a 500 x 500 image"
        (vgg16, (224, 224), (1, 1)),
        (vgg16, (240, 289), (2, 4)),  # pools 8x10
    ],
)
def test_map_equals_sliding_the_fully_connected_layers(tmp_path, make, size, cells):
    blobs = blobs_of(make)
    write_caffemodel_v1(tmp_path / "net.caffemodel", blobs)
    net, rgb = load_classifier(tmp_path / "net.caffemodel"), photograph(*size)
    found = class_map(net, rgb).probabilities
    assert found.shape == (1000, *cells)
    torch.testing.assert_close(found, slid(net, blobs, rgb), rtol=1e-3, atol=1e-7)
    assert (
        found.amax() > 2e-3 and (found[:, :1, :1] / found - 1).abs().amax() > 0.1 or cells[0] == 1
    )


@torch.inference_mode()
def test_cells_are_centred_on_the_classifiers_windows_and_the_whole_image_is_their_mean():
    for net, centre in ((alexnet(WIDTH).eval(), 113), (vgg16(WIDTH).eval(), 111.5)):
        assert net.grid == Grid(32, centre)  # the middle of 227 and of 224 pixels
        rgb = photograph(256, 256 + 32)
        scores = net.score_map(rgb.flip(0)[None] - torch.tensor(net.mean).view(3, 1, 1))
        expected = scores[0].mean((1, 2)).softmax(0)
        torch.testing.assert_close(whole_image(net, rgb), expected)


def test_other_nets_are_refused_by_their_layers(tmp_path):
    path = tmp_path / "net.caffemodel"
    blobs = blobs_of(alexnet)
    for changed, message in (
        ({"fc8": None}, r"net\.caffemodel: the file has no blobs for 1 of .* \(fc8\)"),
        ({"fc6": blobs["fc7"]}, r"its layers, conv1, conv2, conv3, conv4 \.\.\., are no known"),
        ({"conv1": None}, r"are no known classifier's; give bvlc_googlenet, bvlc_reference"),
    ):
        kept = {name: found for name, found in (blobs | changed).items() if found}
        write_caffemodel(path, kept)
        with pytest.raises(WeightsError, match=message):
            load_classifier(path)
