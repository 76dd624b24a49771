"""The original GoogLeNet's weights, read without Caffe, classify real photographs correctly.

A wrong order of channels, blobs or branches, or a missing mean, would give wrong classes.
"""

from pathlib import Path

import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from fcnexp.data.files import read_rgb
from fcnexp.nn.backbones.googlenet import GoogLeNetClassifier
from fcnexp.nn.inputs import Colour
from fcnexp.nn.weights import caffe_names
from fcnexp.nn.weights.caffe import read_caffemodel
from fcnexp.nn.weights.surgery import load_blobs

pytestmark = pytest.mark.real_data

RECIPE = Colour(order="bgr", mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0))
# Photographs with one kind of object in VOC's labels, and words in acceptable ImageNet classes.
PHOTOGRAPHS = {
    "2007_000042": ("locomotive", "passenger car"),
    "2007_000068": ("crane",),
    "2007_000121": ("desktop computer", "screen", "monitor"),
    "2008_004430": ("sorrel",),
    "2008_005097": ("ox", "water buffalo"),
    "2009_000839": ("spaniel",),
    "2009_001403": ("ram",),  # predicted: kuvasz, a white dog; ram comes second
    "2010_000159": ("papillon",),
    "2011_001775": ("Persian cat",),
    "2011_002119": ("ram",),
}


def centre(path: Path) -> torch.Tensor:
    """Central 224x224 crop of a photograph scaled to a shorter side of 256."""
    rgb = read_rgb(path)
    scale = 256 / min(rgb.shape[1:])
    rgb = TF.resize(rgb, [round(side * scale) for side in rgb.shape[1:]], antialias=True)
    return TF.center_crop(rgb, [224, 224])


def test_original_googlenet_classifies_photographs(shared_data):
    blobs = read_caffemodel(shared_data / "weights/bvlc_googlenet.caffemodel")
    net = GoogLeNetClassifier().eval()
    report = load_blobs(net, blobs)
    assert len(report.copied) == 58 and not report.new and not report.unused
    lines = (shared_data / "weights/synset_words.txt").read_text().splitlines()
    wrong = []
    for name, words in PHOTOGRAPHS.items():
        rgb = centre(shared_data / f"voc/JPEGImages/{name}.jpg")[None]
        with torch.inference_mode():
            best = int(net(RECIPE.apply(rgb)).argmax())
        if not any(word in lines[best] for word in words):
            wrong.append(name)
    assert wrong == ["2009_001403"]


def test_fcn_loads_the_trunk_and_ignores_the_classifier(shared_data):
    from fcnexp.build import network

    path = shared_data / "weights/bvlc_googlenet.caffemodel"
    net = network(["backbone=googlenet", "data=voc", "init=caffemodel", f"init.path={path}"])
    bias = caffe_names.blobs(net)["inception_5b/1x1"][1].detach().numpy()
    assert (bias == read_caffemodel(path)["inception_5b/1x1"][1]).all()
    assert all(not layer.weight.any() for layer in net.score_layers())
