"""The nets equal the reference nets, map by map.

Weights and inputs are random, by the recipe in the README of the golden files; the reference
outputs were computed from the same values following Caffe's definitions.
"""

import math
import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from places import SHARED

from fcnexp.build import network
from fcnexp.nn.inspection.trace import trace
from fcnexp.nn.weights.caffe_names import counts
from fcnexp.nn.weights.surgery import load_blobs

pytestmark = pytest.mark.real_data

GOLDEN = SHARED / "golden/caffe"
NETS = (
    *("voc-fcn-alexnet", "voc-fcn32s", "voc-fcn16s", "voc-fcn8s", "voc-fcn8s-atonce"),
    *("nyud-fcn32s-color", "nyud-fcn32s-hha", "nyud-fcn32s-color-d", "nyud-fcn32s-color-hha"),
)
SIZES = ((64, 96), (133, 101))
INPUTS = {"rgb": "color", "hha": "hha", "depth": "depth"}  # our fields: the originals' blobs


def noise(name: str, blob: int, shape: tuple[int, ...]) -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(f"{name}/{blob}".encode())))
    return generator.standard_normal(shape, dtype=np.float32)


def facts() -> dict:
    return yaml.safe_load((SHARED / "reference/nets.yaml").read_text())["nets"]


def made_up_blobs(name: str) -> dict[str, list[np.ndarray]]:
    """Return random values for every parameter blob of an original net, in its shape."""
    blobs = {}
    channels = {"scale_pool4": 512, "scale_pool3": 256}
    for layer in facts()[name]["layers"]:
        layer_name, shape = layer["name"], tuple(layer.get("weight_shape", ()))
        if layer["type"] == "Convolution":
            spread = math.sqrt(2 / math.prod(shape[1:]))
            spread *= 0.1 if layer_name.startswith("score") else 1.0
            if name.endswith("atonce") and layer_name in ("score_pool4", "score_pool3"):
                spread /= 0.01 if layer_name == "score_pool4" else 0.0001
            weight = noise(layer_name, 0, shape) * np.float32(spread)
            blobs[layer_name] = [weight, noise(layer_name, 1, shape[:1]) * np.float32(2)]
        elif layer["type"] == "Deconvolution":
            k = shape[-1]
            ramp = 1 - np.abs(np.arange(k) - (k - 1) / 2) / math.ceil(k / 2)
            weight = np.zeros(shape, np.float32)
            weight[np.arange(shape[0]), np.arange(shape[0])] = np.outer(ramp, ramp)
            blobs[layer_name] = [weight]
        elif layer["type"] == "Scale":
            value = np.full(channels[layer_name], layer["value"], np.float32)
            blobs[layer_name] = [value]
    return blobs


def made_up_inputs(net, size: tuple[int, int]) -> dict[str, torch.Tensor]:
    inputs = {}
    for field in net.fields:
        name = INPUTS[field] if len(net.fields) > 1 else "data"
        shape = (1, 1 if field == "depth" else 3, *size)
        inputs[field] = torch.from_numpy(noise(name, 0, shape) * np.float32(50))
    return inputs


def close(ours: np.ndarray, golden: np.ndarray, largest: float, what: str) -> None:
    np.testing.assert_allclose(ours, golden, rtol=0, atol=1e-4 * largest, err_msg=what)


@pytest.mark.parametrize("name", NETS)
def test_net_equals_the_original_map_by_map(name):
    """Compares all blobs' shapes, 128 values of each, the scores and the argmax, at both sizes."""
    if not GOLDEN.is_dir():
        pytest.skip(f"skipped: needs {GOLDEN}")
    net = network([f"experiment={name.replace('-', '_')}", "init=scratch"])
    report = load_blobs(net, made_up_blobs(name))
    assert not report.new and not report.unused
    for size in SIZES:
        golden = np.load(GOLDEN / f"{name}_{size[0]}x{size[1]}.npz")
        with torch.inference_mode():
            maps = trace(net, made_up_inputs(net, size), keep=True)
            untraced = net(made_up_inputs(net, size))[0].numpy()  # a trace disables fast paths
        if len(net.fields) == 1:
            maps[0].name = "data"
        ours = {each.name: each.value.numpy() for each in maps}
        for field, original in INPUTS.items():
            ours.setdefault(original, ours.get(field))
        for i, blob in enumerate(golden["blob_names"]):
            assert ours[blob].shape == tuple(golden["blob_shapes"][i]), blob
            values = ours[blob].ravel()
            least, most = golden["blob_stats"][i][3:]
            probe = values[(np.arange(128) * 1000003) % values.size]
            close(probe, golden["blob_probe"][i], max(abs(least), abs(most)), str(blob))
        scores, step = ours["score"][0], int(golden["stride"])
        largest = np.abs(golden["score"]).max()
        close(scores[:, ::step, ::step], golden["score"], largest, "score")
        close(scores[0], golden["score_ch0"], largest, "score, channel 0")
        close(untraced[:, ::step, ::step], golden["score"], largest, "score by fast paths")
        assert (scores.argmax(0) != golden["score_argmax"]).mean() <= 1e-4


def played(name: str, blobs: dict[str, list[np.ndarray]], image: torch.Tensor) -> dict:
    """Every map of an original net, layer by layer as reference/nets.yaml lists them."""
    maps = {"data": image}
    for layer in facts()[name]["layers"]:
        kind, bottoms = layer["type"], layer.get("bottom", [])
        names = [bottoms] if isinstance(bottoms, str) else bottoms
        given = [maps.get(bottom) for bottom in names]
        tensors = [torch.from_numpy(blob) for blob in blobs.get(layer["name"], ())]
        if kind == "Convolution":
            found = F.conv2d(given[0], *tensors, padding=layer["pad"])
        elif kind == "Deconvolution":
            found = F.conv_transpose2d(given[0], *tensors, stride=layer["stride"])
        elif kind == "Pooling":
            found = F.max_pool2d(given[0], layer["kernel"], layer["stride"], ceil_mode=True)
        elif kind == "Crop":
            (height, width), at = given[1].shape[-2:], layer["offset"]
            found = given[0][..., at : at + height, at : at + width]
        elif kind == "Eltwise":
            found = given[0] + given[1]
        elif kind in ("ReLU", "Dropout"):
            found = given[0].relu() if kind == "ReLU" else given[0]
        else:
            assert kind in ("Python", "SoftmaxWithLoss"), kind
            continue
        maps[layer.get("top", layer["name"])] = found
    return maps


@pytest.mark.slow
@pytest.mark.parametrize("data", ["siftflow", "pascalcontext"])
@pytest.mark.parametrize("depth", ["fcn32s", "fcn16s", "fcn8s"])
def test_the_other_six_equal_their_layers_played_one_by_one(data, depth):
    if not GOLDEN.is_dir():
        pytest.skip(f"skipped: needs {SHARED / 'reference/nets.yaml'}")
    name, sizes = f"{data}-{depth}", ((40, 71), (133, 101))
    blobs = made_up_blobs(name)
    net = network([f"experiment={data}_{depth}", "init=scratch"])
    report = load_blobs(net, blobs)
    assert not report.new and not report.unused
    for size in sizes:
        inputs = made_up_inputs(net, size)
        with torch.inference_mode():
            ours, maps = net(inputs), played(name, blobs, inputs["rgb"])
        ends = ["_sem", "_geo"] if data == "siftflow" else [""]
        theirs = torch.cat([maps[f"score{end}"] for end in ends], 1).numpy()
        assert ours.shape == theirs.shape == (1, 36 if data == "siftflow" else 60, *size)
        close(ours.numpy(), theirs, np.abs(theirs).max(), name)


@pytest.mark.parametrize("name", [*NETS, "the other six"])
def test_parameter_counts_equal_the_originals(name):
    if not GOLDEN.is_dir():
        pytest.skip(f"skipped: needs {SHARED / 'reference/nets.yaml'}")
    for each in set(facts()) - set(NETS) if name == "the other six" else {name}:
        with torch.device("meta"):
            net = network([f"experiment={each.replace('-', '_')}", "init=scratch"])
        assert counts(net) == facts()[each]["counts"], each
