"""The convolutionalised classifier: class probabilities of each place of a large photograph.

Source: fig. 2 (CVPR 2015): a classifier's last layers, slid over a larger image, give a map.
"""

from pathlib import Path
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from fcnexp.errors import WeightsError
from fcnexp.nn.backbones.googlenet import GoogLeNetClassifier
from fcnexp.nn.dense.interpolation import Interpolation
from fcnexp.nn.geometry import Grid
from fcnexp.nn.inputs import Colour
from fcnexp.nn.weights.caffe import read_caffemodel
from fcnexp.nn.weights.surgery import load_blobs

# As the BVLC zoo trained it. Source: its deploy.prototxt and readme.
RECIPE = Colour(order="bgr", mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0))
WINDOW = 7  # cells of the last map that the classifier averages: 224 pixels
LEAST = 224  # pixels of either side


class ClassMap(NamedTuple):
    """probabilities: (1000, h, w), summing to 1 at each cell. grid: where the cells lie."""

    probabilities: Tensor
    grid: Grid

    def of_pixels(self, classes: list[int], size: tuple[int, int]) -> Tensor:
        """Probabilities of some classes at each pixel, (len(classes), *size)."""
        return Interpolation(self.grid)(self.probabilities[None, classes], size)[0]

    def box(self) -> tuple[int, int, int, int]:
        """The pixels that are a cell's own: first row, first column, one past the last of both."""
        step, start = self.grid.step, self.grid.origin - self.grid.step / 2
        height, width = self.probabilities.shape[1:]
        ends = (start, start, start + height * step, start + width * step)
        top, left, bottom, right = (round(end) for end in ends)
        return top, left, bottom, right


def load_classifier(path: Path) -> GoogLeNetClassifier:
    """The ImageNet classifier with the weights of a `.caffemodel`, in eval mode.

    Raises WeightsError naming the file, where it is missing or lacks a layer.
    """
    blobs = read_caffemodel(path)
    net = GoogLeNetClassifier()
    try:
        report = load_blobs(net, blobs)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    if report.new:
        raise WeightsError(
            f"{path}: has no {', '.join(report.new)}; give bvlc_googlenet.caffemodel, an ImageNet "
            "classifier"
        )
    return net.eval()


def class_map(net: GoogLeNetClassifier, rgb: Tensor) -> ClassMap:
    """The map of a photograph, uint8 (3, H, W) in RGB, each side at least LEAST.

    What the classifier does to the 7x7 cells of a 224x224 image is done around every cell: mean
    over the window, then its layer as a 1x1 convolution.
    """
    maps = net.trunk(RECIPE.apply(rgb[None]))[32]
    weight, bias = net.classifier.weight, net.classifier.bias
    scores = F.conv2d(F.avg_pool2d(maps, WINDOW, 1), weight[:, :, None, None], bias)
    return ClassMap(scores.softmax(1)[0], net.trunk.taps[32].grid.conv(WINDOW))


def whole_image(net: GoogLeNetClassifier, rgb: Tensor) -> Tensor:
    """Class probabilities (1000,) of a whole photograph, uint8 (3, H, W): mean over all cells."""
    return net(RECIPE.apply(rgb[None])).softmax(1)[0]
