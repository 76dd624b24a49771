"""`predict` from the command line: inputs, results and error messages."""

import io
import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from commands import fcnexp
from dense_nets import randomise
from PIL import Image

from fcnexp import build, predict, restore
from fcnexp.config.compose import compose_run
from fcnexp.data.files import read_rgb
from fcnexp.errors import ConfigError
from fcnexp.nn.fast.switches import FAST_PATHS, enabled
from fcnexp.predicting import windows
from fcnexp.predicting.memory import bytes_of_text

NET = ["model=fcn8s", "data=shapes"]
SMALL = ["backbone=tiny", "backbone.widths=[2,2,3,3,4,4]"]


def write_checkpoint(path: Path, *overrides: str) -> Path:
    """A checkpoint of a net with random weights."""
    cfg = compose_run([*NET, *overrides])
    data = build.part(cfg, "data")
    net, recipe = build.build_net(cfg, build.outputs_of(data))
    randomise(net)
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": state, "fcnexp": build.net_facts(cfg, recipe, data)}, path)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a checkpoint, net.ckpt, and two images."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("predict")
    write_checkpoint(folder / "net.ckpt", *SMALL)
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for name, size in (("a.jpg", (40, 60)), ("b.png", (33, 21))):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / name)
    return folder


def run(folder: Path, *arguments: str, checkpoint="net.ckpt", **changes):
    typed = [f"checkpoint={checkpoint}"] if checkpoint else []
    return fcnexp("predict", *typed, *arguments, folder=folder, cache=folder / "cache", **changes)


def test_a_folder_gives_every_requested_result(place):
    done = run(place, "input=photos", "output=all", "beside=true", "save_scores=true")
    assert done.returncode == 0, done.stderr
    endings = (".png", "_overlay.png", "_beside.png", ".npy")
    expected = {f"{name}{end}" for name in "ab" for end in endings} | {"shares.json"}
    assert {path.name for path in (place / "all").iterdir()} == expected
    label = np.asarray(Image.open(place / "all/a.png"))
    assert label.shape == (40, 60)
    np.testing.assert_array_equal(np.load(place / "all/a.npy").argmax(0), label)
    facts = json.loads((place / "all/shares.json").read_text())["pictures"]["a"]
    assert (facts["width"], facts["height"]) == (60, 40)
    index, count = np.unique(label, return_counts=True)
    assert sorted(facts["pixels"].values()) == sorted(count.tolist())
    assert sum(facts["shares"].values()) == pytest.approx(1) and len(facts["shares"]) == len(index)


def test_scores_equal_those_of_the_task(place):
    stored = torch.load(place / "net.ckpt", weights_only=True)
    task = restore.task_of(stored, "net.ckpt")
    rgb = read_rgb(place / "photos/a.jpg")
    label, scores = task.label_image({"rgb": rgb})
    mine = predict.labeller_of(str(place / "net.ckpt"), None, "cpu")
    assert torch.equal(mine.scores({"rgb": rgb}), scores)
    np.testing.assert_array_equal(windows.label_picture(mine, {"rgb": rgb}, None), label)


def test_a_list_on_standard_input_is_labelled_except_for_missing_files(place):
    lines = io.StringIO("photos/a.jpg\n\n photos/gone.jpg \nphotos/b.png\n")
    with mock.patch.object(sys, "stdin", lines):
        done = run(place, "input=-", "output=listed", "overlay=false")
    assert done.returncode == 1 and "photos/gone.jpg: no such image" in done.stderr
    assert {p.name for p in (place / "listed").iterdir()} == {"a.png", "b.png", "shares.json"}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(place, orientation):
    """A dark image with a bright corner, stored as its EXIF orientation says."""
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:8, :8] = 255
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = place / f"turned{orientation}.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    np.testing.assert_array_equal(read_rgb(path, upright=True).permute(1, 2, 0), upright)
    done = run(place, f"input={path.name}", "output=turned", "beside=true")
    assert done.returncode == 0, done.stderr
    for ending in ("", "_overlay"):
        assert Image.open(place / f"turned/{path.stem}{ending}.png").size == (40, 24)


def test_rgbd_nets_read_the_other_fields_from_folders(place):
    write_checkpoint(place / "rgbd.ckpt", *SMALL, "modality=rgb_hha", "data=rooms")
    Image.new("RGB", (60, 40), (9, 80, 200)).save(place / "a.png")
    (place / "hha").mkdir()
    Image.new("RGB", (60, 40), (3, 4, 5)).save(place / "hha/a.png")
    arguments = ["input=photos/a.jpg", "output=rgbd"]
    done = run(place, *arguments, "fields.hha=hha", checkpoint="rgbd.ckpt")
    assert done.returncode == 0, done.stderr
    done = run(place, *arguments, checkpoint="rgbd.ckpt")
    assert done.returncode == 1 and "set fields.hha=FOLDER" in done.stderr
    done = run(place, "input=photos", "output=rgbd", "fields.hha=hha", checkpoint="rgbd.ckpt")
    assert done.returncode == 1 and "b.png: not found; photos/b.png needs its hha" in done.stderr
    Image.new("RGB", (60, 41)).save(place / "hha/b.png")
    done = run(place, "input=photos/b.png", "fields.hha=hha", checkpoint="rgbd.ckpt")
    assert done.returncode == 1 and "is 60x41, but photos/b.png is 21x33" in done.stderr
    done = run(place, "input=photos", "fields.hha=hha")
    assert done.returncode == 1 and "this net takes rgb; remove it" in done.stderr


MISTAKES = {
    "no checkpoint": (["input=photos"], None, "checkpoint: required, but not given"),
    "missing": (["input=photos"], "none.ckpt", "none.ckpt: no such checkpoint"),
    "foreign": (["input=photos"], "photos/a.jpg", "photos/a.jpg: damaged, or not a checkpoint"),
    "no input": ([], "net.ckpt", "input: required, but not given"),
    "empty folder": (["input=empty"], "net.ckpt", "input=empty: no images found"),
    "nowhere": (["input=gone/x.jpg"], "net.ckpt", "input=gone/x.jpg: no such file"),
    "no match": (["input='gone/*.jpg'"], "net.ckpt", "input=gone/*.jpg: no images found"),
    "same folder": (
        ["input=photos", "output=photos"],
        "net.ckpt",
        "output=photos: this is the folder of the images, and the next command would take the",
    ),
    "broken": (["input=broken.jpg"], "net.ckpt", "broken.jpg: damaged or not an image"),
    "no folder": (["input=photos", "output=net.ckpt/x"], "net.ckpt", "cannot create this folder"),
    "device": (["input=photos", "device=tpu"], "net.ckpt", "device=tpu: allowed are cpu and cuda"),
    "memory": (["input=photos", "memory=2XB"], "net.ckpt", "memory=2XB: must be a number of bytes"),
    "no memory": (
        ["input=photos", "memory=1MB"],
        "net.ckpt",
        "smallest windows of 448; try memory=",
    ),
    "exported": (["input=photos"], "fcn.onnx", "is an exported file; try onnx=fcn.onnx"),
    "pipe": (["input=-"], "net.ckpt", "standard input is empty"),
    "same name": (["input='same/*'"], "net.ckpt", "a.png is already the result of"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gives_one_line(place, name):
    arguments, checkpoint, words = MISTAKES[name]
    (place / "empty").mkdir(exist_ok=True)
    (place / "same").mkdir(exist_ok=True)
    (place / "broken.jpg").write_bytes(b"\xff\xd8 cut")
    for ending in ("jpg", "bmp"):
        Image.new("RGB", (8, 8)).save(place / f"same/a.{ending}")
    with mock.patch.object(sys, "stdin", io.StringIO("\n")):
        done = run(place, *arguments, checkpoint=checkpoint)
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_an_image_larger_than_pillows_limit_is_labelled(place, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow refuses twice as many
    done = run(place, "input=photos/a.jpg", "output=many")
    assert done.returncode == 0 and not done.stderr, done.stderr


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 10**9), ("1.5 gib", 3 * 2**29), ("800MB", 8 * 10**8), ("123", 123)],
)
def test_memory_is_read_with_and_without_units(text, size):
    assert bytes_of_text(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "2 G B", "1e9", "9" * 400])
def test_invalid_memory_is_refused(text):
    with pytest.raises(ConfigError, match="try memory=2GB"):
        bytes_of_text(text)


def test_a_memory_limit_switches_off_fast_paths_that_store_weights_twice():
    seen = []

    class Seeing:
        device, tiling, class_names = torch.device("cpu"), None, ("a", "b")

        def bytes_of(self, height: int, width: int) -> int:
            return 0

        def scores(self, fields: dict[str, torch.Tensor]) -> torch.Tensor:
            seen.append({way for way in FAST_PATHS if not enabled(way)})
            return torch.zeros(2, *fields["rgb"].shape[1:])

    for memory in (None, 10**12):
        windows.label_picture(Seeing(), {"rgb": torch.zeros(3, 4, 5)}, memory)
    assert seen == [set(), {"packed", "winograd"}]
