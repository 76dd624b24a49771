"""The ImageNet classifier applied as a convolution."""

import pytest
import torch
from caffe_files import write_caffemodel

from fcnexp.errors import WeightsError
from fcnexp.nn.backbones.googlenet import GoogLeNetClassifier
from fcnexp.nn.geometry import Grid
from fcnexp.nn.inspection.class_map import class_map, load_classifier, whole_image


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
