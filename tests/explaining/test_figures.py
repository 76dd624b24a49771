"""`python -m fcnexp.explain figure=...` from the command line, on generated images and weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from caffe_files import write_caffemodel
from commands import TINY, fcnexp
from PIL import Image

from fcnexp.data.palette import save_indexed
from fcnexp.nn.backbones.googlenet import GoogLeNetClassifier
from fcnexp.nn.inspection.fc_classifiers import alexnet

LAST = "checkpoint=out/checkpoints/last.ckpt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """photo.png, its ground truth, a run of a net with skips in out/, and a random classifier."""
    folder = tmp_path_factory.mktemp("gallery")
    steps = ["regime.steps=1", "logger=csv", "pictures=0", "hydra.run.dir=out"]
    done = fcnexp("train", *TINY, *steps, folder=folder, cache=folder)
    assert done.returncode == 0, done.stderr
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(noise).save(folder / "photo.png")
    save_indexed(folder / "truth.png", np.full((60, 80), 3, np.uint8))
    save_indexed(folder / "other.png", np.zeros((6, 8), np.uint8))
    torch.manual_seed(0)
    classifier = GoogLeNetClassifier()
    classifier.classifier.bias.data[7] = 9.0  # class 7 wins on any image
    layers = {
        name: [p.detach().numpy() for p in (layer.weight, layer.bias)]
        for name, layer in classifier.layers().items()
    }
    write_caffemodel(folder / "classifier.caffemodel", layers)
    (folder / "names.txt").write_text("".join(f"n{i:04} thing {i}, stuff\n" for i in range(1000)))
    (folder / "few.txt").write_text("n0001 thing\n")
    return folder


def explain(folder: Path, *arguments: str):
    return fcnexp("explain", *arguments, folder=folder, cache=folder)


def coloured(path: Path) -> int:
    """Number of pixels of a figure that are not grey, black or white."""
    rgb = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert min(rgb.shape[:2]) > 500  # large enough to be legible
    return int((np.ptp(rgb, axis=-1) > 40).sum())


def test_receptive_fields_without_weights_are_theoretical(folder):
    done = explain(folder, "figure=receptive_field", "image=photo.png", "output=a/rf.png")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    cell = "the cell at row 32.5, column 40.5"
    assert lines[0] == f"pool3, stride 8: {cell} has a receptive field of 44 x 44"
    assert lines[3].endswith(" of 404 x 404") and lines[4] == "picture a/rf.png"
    assert coloured(folder / "a/rf.png") > 1000


def test_receptive_fields_of_a_checkpoint_are_also_measured(folder):
    done = explain(folder, "figure=receptive_field", "image=photo.png", LAST, "figure.at=[5,70]")
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert "receptive field of" in first and "% of its gradient in" in first
    path = folder / last.removeprefix("picture ")
    assert path.name == "receptive_field.png" and coloured(path) > 1000


def test_class_maps_name_the_most_probable_classes(folder):
    arguments = ["figure.weights=classifier.caffemodel", "figure.labels=names.txt"]
    small = ["figure.shorter_side=224", "figure.classes=2", "output=maps.png"]
    done = explain(folder, "figure=class_maps", "image=photo.png", *arguments, *small)
    assert done.returncode == 0, done.stderr
    whole, maps, _ = done.stdout.splitlines()
    assert whole.startswith("entire image: thing 7 0.89, ") and whole.count("thing") == 5
    assert maps.startswith("map of 1 x 3 cells, 32 pixels apart: thing 7, up to 0.89; thing ")
    assert maps.count("up to") == 2 and coloured(folder / "maps.png") > 1000


def test_class_maps_of_alexnet_have_a_cell_for_each_window(folder):
    """A 500x375 photograph: 6 x 10 windows of 6x6 cells of pool5's 11 x 15."""
    torch.manual_seed(0)
    net = alexnet(channels=8)
    net.fc8.bias.data[3] = 9.0  # class 3 wins on any image
    layers = {
        name: [layer.weight.detach().flatten(1).numpy(), layer.bias.detach().numpy()]
        if name.startswith("fc")
        else [p.detach().numpy() for p in (layer.weight, layer.bias)]
        for name, layer in net.layers().items()
    }
    write_caffemodel(folder / "alexnet.caffemodel", layers)
    noise = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)
    Image.fromarray(noise).save(folder / "large.png")
    weights = ["figure.weights=alexnet.caffemodel", "figure.labels=names.txt"]
    asked = ["figure=class_maps", "image=large.png", *weights]
    done = explain(folder, *asked, "figure.shorter_side=null", "output=alexnet.png")
    assert done.returncode == 0, done.stderr
    assert "map of 6 x 10 cells, 32 pixels apart: thing 3, up to 0." in done.stdout
    assert coloured(folder / "alexnet.png") > 1000
    done = explain(folder, *asked, "figure.shorter_side=224")
    assert "figure.shorter_side=224: must be 227 or more" in done.stderr


def test_fusion_reports_each_stage(folder):
    arguments = ["image=photo.png", LAST, "output=fusion.png"]
    done = explain(folder, "figure=fusion", "figure.truth=truth.png", *arguments)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        *("head, stride 32", "+ pool4, stride 16", "+ pool3, stride 8", "picture fusion.png"),
    ]
    assert all("pixel accuracy" in line for line in lines[:3])
    assert (folder / "fusion.png").is_file()
    plain = explain(folder, "figure=fusion", *arguments).stdout.splitlines()
    assert all("%" in line and "accuracy" not in line for line in plain[:3])


MISTAKES = {
    "no image": (
        ["figure=fusion", LAST],
        "image: required for a figure, but not given; add image=",
    ),
    "missing image": (["figure=receptive_field", "image=gone.jpg"], "gone.jpg: no such image"),
    "no checkpoint": (
        ["figure=fusion", "image=photo.png"],
        "checkpoint: required for figure=fusion, but not given",
    ),
    "missing checkpoint": (
        ["figure=fusion", "image=photo.png", "checkpoint=gone.ckpt"],
        "gone.ckpt: no such checkpoint",
    ),
    "no weights": (
        ["figure=class_maps", "image=photo.png"],
        "figure.weights: required, but not given; add figure.weights=",
    ),
    "missing weights": (
        ["figure=class_maps", "image=photo.png", "figure.weights=gone.caffemodel"],
        "gone.caffemodel does not exist",
    ),
    "few labels": (
        ["figure=class_maps", "image=photo.png", "figure.weights=x", "figure.labels=few.txt"],
        "few.txt: 1 lines, but ImageNet has 1000 classes",
    ),
    "small image": (
        ["figure=class_maps", "image=photo.png", "figure.weights=x", "figure.shorter_side=null"],
        "image has 60x80 pixels, but the classifier needs 224x224; try figure.shorter_side=",
    ),
    "small side": (
        ["figure=class_maps", "image=photo.png", "figure.weights=x", "figure.shorter_side=100"],
        "figure.shorter_side=100: must be 224 or more",
    ),
    "many classes": (
        ["figure=class_maps", "image=photo.png", "figure.weights=x", "figure.classes=9"],
        "figure.classes=9: number of maps, must be 1 to 5",
    ),
    "ground truth of another size": (
        ["figure=fusion", "image=photo.png", LAST, "figure.truth=other.png"],
        "other.png: has 6x8 pixels, but the image has 60x80",
    ),
    "pixel outside": (
        ["figure=receptive_field", "image=photo.png", "figure.at=[60,0]"],
        "figure.at=[60, 0]: must be the row and column of a pixel; the image has 60 rows and 80",
    ),
    "no such figure": (
        ["figure=receptive_fields"],
        "figure=receptive_fields: no such option (did you mean receptive_field?)",
    ),
    "dashes": (
        ["--figure=fusion"],
        "--figure: leave out the dashes: figure=fusion",
    ),
    "dashes and a space": (
        ["--figure", "fusion"],
        "--figure: leave out the dashes: figure=fusion",
    ),
    "both": (["figure=fusion", "layer=conv"], "layer and figure cannot be combined"),
    "no folder": (
        ["figure=receptive_field", "image=photo.png", "output=photo.png/a.png"],
        "output=photo.png: cannot create this folder",
    ),
    "no figure": (
        ["image=photo.png"],
        "image=photo.png is only used by a figure; add figure=receptive_field|",
    ),
    "other field": (
        ["figure=receptive_field", "image=photo.png", "modality=rgb_hha", "init=streams"],
        "modality: takes rgb, hha, but an image has only rgb",
    ),
    "other file type": (
        ["figure=receptive_field", "image=photo.png", "output=a.jpg"],
        "output=a.jpg: the name of the file must end in .png",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_gives_one_line(folder, mistake):
    arguments, message = MISTAKES[mistake]
    done = explain(folder, *arguments)
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


def test_error_for_a_net_without_skips_suggests_models(folder):
    steps = ["regime.steps=1", "logger=csv", "pictures=0", "model=fcn32s", "hydra.run.dir=coarse"]
    assert fcnexp("train", *TINY, *steps, folder=folder, cache=folder).returncode == 0
    done = explain(folder, "figure=fusion", "image=photo.png", LAST.replace("out", "coarse"))
    assert done.returncode == 1 and "has no skips" in done.stderr and "model=fcn8s" in done.stderr
