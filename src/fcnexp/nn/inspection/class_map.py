"""Convolutionalised classifier: class probabilities at each position of a large image.

Source: fig. 2 (CVPR 2015): applied to a larger image, a classifier's last layers give a map.
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

# Input of the BVLC zoo's training. Source: its deploy.prototxt and readme.
RECIPE = Colour(order="bgr", mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0))
WINDOW = 7  # cells of the last map that the classifier averages: 224 pixels
LEAST = 224  # pixels: minimum of either side


class ClassMap(NamedTuple):
    """Class probabilities (1000, h, w), which sum to 1 at each cell, and the cells' grid."""

    probabilities: Tensor
    grid: Grid

    def of_pixels(self, classes: list[int], size: tuple[int, int]) -> Tensor:
        """Interpolate the probabilities of some classes at each pixel, (len(classes), *size)."""
        return Interpolation(self.grid)(self.probabilities[None, classes], size)[0]

    def box(self) -> tuple[int, int, int, int]:
        """Pixels that the cells cover: top, left, bottom and right, the last two exclusive."""
        step, start = self.grid.step, self.grid.origin - self.grid.step / 2
        height, width = self.probabilities.shape[1:]
        ends = (start, start, start + height * step, start + width * step)
        top, left, bottom, right = (round(end) for end in ends)
        return top, left, bottom, right


def load_classifier(path: Path) -> GoogLeNetClassifier:
    """Load the ImageNet classifier from a `.caffemodel`, in eval mode.

    Raises WeightsError, naming the file, if it is missing or lacks a layer.
    """
    blobs = read_caffemodel(path)
    net = GoogLeNetClassifier()
    try:
        report = load_blobs(net, blobs)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    if report.new:
        raise WeightsError(
            f"{path}: has no layer {', '.join(report.new)}; give an ImageNet classifier such as "
            "bvlc_googlenet.caffemodel"
        )
    return net.eval()


def class_map(net: GoogLeNetClassifier, rgb: Tensor) -> ClassMap:
    """Map of class probabilities of an RGB image, uint8 (3, H, W), each side at least LEAST.

    The classifier's operation on the 7x7 cells of a 224x224 image is applied around every cell:
    mean over the window, then the last layer as a 1x1 convolution.
    """
    maps = net.trunk(RECIPE.apply(rgb[None]))[32]
    weight, bias = net.classifier.weight, net.classifier.bias
    scores = F.conv2d(F.avg_pool2d(maps, WINDOW, 1), weight[:, :, None, None], bias)
    return ClassMap(scores.softmax(1)[0], net.trunk.taps[32].grid.conv(WINDOW))


def whole_image(net: GoogLeNetClassifier, rgb: Tensor) -> Tensor:
    """Class probabilities (1000,) of an entire image, uint8 (3, H, W), by the mean of all cells."""
    return net(RECIPE.apply(rgb[None])).softmax(1)[0]
