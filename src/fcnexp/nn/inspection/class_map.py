"""Convolutionalised classifier: class probabilities at each position of a large image.

Source: fig. 2 (CVPR 2015): applied to a larger image, a classifier's last layers give a map.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from fcnexp.errors import WeightsError
from fcnexp.nn.backbones.googlenet import GoogLeNetClassifier
from fcnexp.nn.dense.interpolation import Interpolation
from fcnexp.nn.geometry import Grid
from fcnexp.nn.inputs import Colour
from fcnexp.nn.inspection.fc_classifiers import FcClassifier, alexnet, vgg16
from fcnexp.nn.weights.caffe import read_caffemodel
from fcnexp.nn.weights.surgery import load_blobs

Classifier = GoogLeNetClassifier | FcClassifier
LEAST = 224  # pixels: minimum of either side, for the classifier with the smallest input
FILES = "bvlc_googlenet, bvlc_reference_caffenet (AlexNet) or VGG_ILSVRC_16_layers"


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


def load_classifier(path: Path) -> Classifier:
    """Load an ImageNet classifier from a `.caffemodel`, in eval mode; its layers say which.

    Raises WeightsError, naming the file, if it is missing, another net's, or lacks a layer.
    """
    blobs = read_caffemodel(path)
    try:
        net = _unloaded(blobs)
        report = load_blobs(net, blobs)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    if report.new:
        raise WeightsError(
            f"{path}: has no layer {', '.join(report.new)}; give an ImageNet classifier: {FILES}"
        )
    return net.eval()


def class_map(net: Classifier, rgb: Tensor) -> ClassMap:
    """Map of class probabilities of an RGB image, uint8 (3, H, W), each side at least `net.side`.

    What the classifier does with the deepest map of an image of its own size is done around every
    cell.
    """
    return ClassMap(net.score_map(_input(net, rgb)).softmax(1)[0], net.grid)


def whole_image(net: Classifier, rgb: Tensor) -> Tensor:
    """Class probabilities (1000,) of an entire image, uint8 (3, H, W), by the mean of all cells."""
    return net(_input(net, rgb)).softmax(1)[0]


def _input(net: Classifier, rgb: Tensor) -> Tensor:
    return Colour(order="bgr", mean=net.mean, std=(1.0, 1.0, 1.0)).apply(rgb[None])


def _unloaded(blobs: Mapping[str, list[np.ndarray]]) -> Classifier:
    """The classifier whose file has these blobs, with fc6 as wide. Raises WeightsError."""
    if "conv1/7x7_s2" in blobs:
        return GoogLeNetClassifier()
    fc6 = blobs.get("fc6", [])
    weight, bias = (fc6[0].size, fc6[1].size) if len(fc6) == 2 else (0, 0)
    for first, inputs, classifier in (
        ("conv1_1", 512 * 7 * 7, vgg16),
        ("conv1", 256 * 6 * 6, alexnet),
    ):
        if first in blobs and weight == bias * inputs > 0:
            return classifier(bias)
    raise WeightsError(
        f"its layers, {', '.join(list(blobs)[:4])} ..., are no known classifier's; give {FILES}"
    )
