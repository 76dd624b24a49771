"""Values are never clipped, cast, dropped, broadcast or ignored without a word."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fcnexp.build import network
from fcnexp.data.files import read_depth
from fcnexp.data.transforms import Augment
from fcnexp.errors import DataError, WeightsError
from fcnexp.nn.inputs import Colour
from fcnexp.nn.weights import surgery
from fcnexp.scoring.objects import by_class_and_size
from fcnexp.scoring.per_image import OBJECTS, PerImage
from fcnexp.scoring.resampling import resampled
from fcnexp.task.losses import PixelLoss
from fcnexp.task.trimap import TrimapScores

LOSS = {"reduction": "mean", "keep": 1, "cell": 1, "balance": None}
AUGMENT = {
    **{"resize": None, "mirror": 0, "scale": (1, 1), "crop": None, "drop_smaller": False},
    **{"colour": 0, "jitter": 0},
}
OBJECT_TABLE = {OBJECTS: (np.array([0, 1]), *(np.array([1], np.uint8),) * 3)}
PARTS = {
    "bands that decrease": lambda: TrimapScores(3, (5, 1)),
    "bands twice the same": lambda: TrimapScores(3, (2, 2)),
    "a band of no width": lambda: TrimapScores(3, (0, 1)),
    "no band": lambda: TrimapScores(3, ()),
    "sizes that decrease": lambda: by_class_and_size(
        PerImage(("a",), ("x", "y"), OBJECT_TABLE), (8, 4)
    ),
    "runs of twice as many images": lambda: resampled([np.ones((12, 3, 2)), np.ones((24, 3, 2))]),
    "runs of other classes": lambda: resampled([np.ones((12, 3, 2)), np.ones((12, 3, 4))]),
    "no pixel kept": lambda: PixelLoss(**LOSS | {"keep": 0}),
    "more than all pixels kept": lambda: PixelLoss(**LOSS | {"keep": 1.5}),
    "NaN pixels kept": lambda: PixelLoss(**LOSS | {"keep": float("nan")}),
    "squares of no side": lambda: PixelLoss(**LOSS | {"cell": 0}),
    "void as void": lambda: PixelLoss(**LOSS, void_as=255),
    "void as void, wide": lambda: PixelLoss(**LOSS, void_as=-1),
    "void as a fraction": lambda: PixelLoss(**LOSS, void_as=0.5),
    "a negative scale": lambda: Augment(**AUGMENT | {"scale": (-1, 1)}),
    "a scale of nothing": lambda: Augment(**AUGMENT | {"scale": (0, 1)}),
    "scales in the wrong order": lambda: Augment(**AUGMENT | {"scale": (2, 1)}),
    "an endless scale": lambda: Augment(**AUGMENT | {"scale": (1, float("inf"))}),
    "a scale of NaN": lambda: Augment(**AUGMENT | {"scale": (float("nan"), 1)}),
    "a deviation of 0": lambda: Colour("rgb", (1, 2, 3), (1, 0, 1)),
    "a negative deviation": lambda: Colour("rgb", (1, 2, 3), (1, -1, 1)),
    "means of two channels": lambda: Colour("rgb", (1, 2), (1, 1, 1)),
}


@pytest.mark.parametrize("name", PARTS)
def test_settings_without_meaning_are_refused(name):
    with pytest.raises(ValueError, match=r"=|shapes"):
        PARTS[name]()


DEPTHS = {
    "negative": np.full((4, 5), -7, np.int32),
    "beyond 65 m": np.full((4, 5), 70_000, np.int32),
    "metres": np.full((4, 5), 1.5, np.float32),
    "8 bits": np.full((4, 5), 7, np.uint8),
}


@pytest.mark.parametrize("name", DEPTHS)
def test_depth_that_is_no_millimetres_is_refused(name, tmp_path):
    Image.fromarray(DEPTHS[name]).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif: depth (image of mode|from)"):
        read_depth(tmp_path / "a.tif")


BLOBS = {
    "text": lambda blob: np.full(blob.shape, "1.5"),
    "complex": lambda blob: blob + 1j,
    "bool": lambda blob: blob > 0,
    "objects": lambda blob: blob.astype(object),
    "dates": lambda blob: np.zeros(blob.shape, "M8[s]"),
    "too large for float32": lambda blob: np.full(blob.shape, 1e300),
    "NaN": lambda blob: np.full(blob.shape, np.nan),
    "one value for all": lambda blob: blob.reshape(-1)[:1],
    "one filter for all": lambda blob: blob[:1],
    "transposed": lambda blob: np.ascontiguousarray(blob.transpose(2, 3, 1, 0)),
    "a filter too many": lambda blob: np.concatenate([blob, blob[:1]]),
}


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return network(["model=fcn32s", "backbone=alexnet", "head=linear", "init=scratch"])


@pytest.mark.parametrize("name", BLOBS)
def test_blobs_that_would_be_cast_or_broadcast_are_refused(name, net):
    from fcnexp.nn.weights.caffe_names import blobs

    given = {
        layer: [np.ascontiguousarray(tensor.detach().numpy()) for tensor in tensors]
        for layer, tensors in blobs(net).items()
    }
    layer = next(iter(given))
    given[layer] = [BLOBS[name](given[layer][0]), *given[layer][1:]]
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(WeightsError, match=f"layer {layer} "):
        surgery.load_blobs(net, given)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_number_of_silent_wrong_results(tell):
    count = len(PARTS) + len(DEPTHS) + len(BLOBS)
    tell(f"values that would be clipped, cast, broadcast or ignored: {count} tried, 0 accepted")
