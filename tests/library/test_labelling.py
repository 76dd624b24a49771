"""`fcnexp.load` and what it labels."""

import numpy as np
import pytest
import torch
from commands import TINY
from commands import fcnexp as run
from PIL import Image

import fcnexp

QUICK = [t for t in TINY if not t.startswith("data.side")]  # rooms have no side
QUICK += [
    "data.num_train=2",
    "data.num_val=1",
    "regime.steps=1",
    "regime.score_every=1",
    "trainer=cpu",
    "logger=csv",
]
QUICK += ["pictures=0", "hydra.run.dir=out"]


@pytest.fixture(scope="module")
def of_colour(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("colour"))


@pytest.fixture(scope="module")
def of_depth(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("depth"), "data=rooms", "modality=rgbd")


def trained(folder, *more: str):
    done = run("train", *QUICK, *more, folder=folder, cache=folder)
    assert done.returncode == 0, done.stderr
    return folder / "out/checkpoints/last.ckpt"


def picture(height: int = 50, width: int = 61) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def test_label_is_the_best_score_of_the_nets_own_forward(of_colour):
    net, image = fcnexp.load(of_colour), picture()
    label = net.label(image)
    inputs = torch.from_numpy(image.transpose(2, 0, 1)[None].copy())
    with torch.inference_mode():
        scores = net.net(net.recipe.apply({"rgb": inputs}, torch.tensor([[50, 61]])))[0]
    assert label.dtype == np.uint8 and np.array_equal(label, scores.argmax(0))
    assert np.array_equal(net.scores(image), scores)
    assert not net.net.training


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(Image.fromarray, id="pillow"),
        pytest.param(lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1], id="bgr_reversed"),
        pytest.param(np.asfortranarray, id="fortran"),
        pytest.param(lambda x: x.tolist() and np.array(x.tolist(), np.uint8), id="list"),
    ],
)
def test_same_pixels_in_another_container_have_the_same_label(of_colour, same):
    net, image = fcnexp.load(of_colour), picture()
    assert np.array_equal(net.label(same(image)), net.label(image))


def test_order_of_channels_matters(of_colour):
    net, image = fcnexp.load(of_colour), picture()
    assert not np.array_equal(net.scores(image[..., ::-1]), net.scores(image))


def test_image_is_not_changed_and_may_be_read_only(of_colour):
    net, image = fcnexp.load(str(of_colour)), picture()
    before = image.copy()
    image.setflags(write=False)
    net.label(image)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (picture() / 255, r"image: float64 \(50, 61, 3\); must be uint8 \(H, W, 3\), in RGB order"),
        (picture()[..., 0], r"image: uint8 \(50, 61\); must be"),
        (np.zeros((5, 6, 4), np.uint8), r"image: uint8 \(5, 6, 4\); must be .*convert\('RGB'\)"),
        (np.zeros((0, 6, 3), np.uint8), r"image: uint8 \(0, 6, 3\); must be"),
        (None, "image: missing; it takes image"),
    ],
)
def test_other_images_are_refused(of_colour, image, message):
    with pytest.raises(fcnexp.DataError, match=message):
        fcnexp.load(of_colour).label(image)


def test_depth_is_an_input_of_its_own(of_depth, of_colour):
    net, image = fcnexp.load(of_depth), picture()
    depth = np.random.default_rng(1).integers(500, 5000, image.shape[:2])
    label = net.scores(image, depth=depth)
    assert label.shape[1:] == image.shape[:2] and net.fields == ("rgb", "depth")
    assert np.array_equal(net.scores(image, depth=depth.astype(np.uint16)), label)
    assert not np.array_equal(net.scores(image, depth=depth + 1000), label)
    for fields, message in {
        "depth: missing; it takes image, depth": {},
        "hha: not taken by this net; it takes image, depth": {"depth": depth, "hha": image},
        r"depth: float64 \(50, 61\); must be whole millim": {"depth": depth / 1000},
        "differ in size .*: image 50x61, depth 49x61": {"depth": depth[:-1]},
    }.items():
        with pytest.raises(fcnexp.DataError, match=fields):
            net.label(image, **message)
    with pytest.raises(fcnexp.DataError, match="depth: not taken by this net; it takes image"):
        fcnexp.load(of_colour).label(image, depth=depth)


@pytest.mark.parametrize(
    ("path", "device", "error", "message"),
    [
        ("gone.ckpt", "cpu", fcnexp.WeightsError, "gone.ckpt"),
        ("net.onnx", "cpu", fcnexp.ConfigError, "fcnexp.predict onnx=net.onnx"),
        ("gone.ckpt", "gpu", fcnexp.ConfigError, "device=gpu: torch knows no such device"),
        ("gone.ckpt", "cuda:99", fcnexp.ConfigError, "device=cuda:99: torch finds"),
    ],
)
def test_what_cannot_be_loaded_is_refused(path, device, error, message):
    with pytest.raises(error, match=message):
        fcnexp.load(path, device)
