"""The original GoogLeNet's weights, read without Caffe, know what is on real photographs."""

import pytest
import torch
from torch.nn.functional import interpolate

from fcnexp.data.files import read_rgb
from fcnexp.nn.backbones.googlenet import GoogLeNetClassifier
from fcnexp.nn.caffe import read_caffemodel
from fcnexp.nn.inputs import RgbRecipe
from fcnexp.nn.surgery import load_blobs

pytestmark = pytest.mark.real_data

# Photographs of one object that fills the picture, and words of which its ImageNet class has one.
PHOTOGRAPHS = {}


@pytest.fixture(scope="module")
def classifier(request):
    from conftest import SHARED

    weights = SHARED / "data/weights/bvlc_googlenet.caffemodel"
    if not weights.is_file():
        pytest.skip(f"needs {weights}")
    net = GoogLeNetClassifier()
    report = load_blobs(net, read_caffemodel(weights))
    assert len(report.copied) == 58 and not report.new and not report.unused
    return net.eval()
