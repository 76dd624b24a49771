"""The commands as a user types them."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from caffe_files import write_caffemodel
from commands import TINY, activated, fcnexp
from fake_data import voc_tree
from PIL import Image

from fcnexp import __version__
from fcnexp.data.palette import save_indexed
from fcnexp.reporting import last_words
from fcnexp.system.places import short


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Folder of a small finished run, with `out/` as its run folder and `cache/` beside."""
    folder = tmp_path_factory.mktemp("run")
    done = subprocess.run(  # once for real, in a process of its own
        [sys.executable, "-m", "fcnexp.train", *TINY, "hydra.run.dir=out"],
        cwd=folder,
        env=os.environ | {"FCNEXP_CACHE": str(folder / "cache"), "PATH": activated()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    return folder


def test_run_folder_holds_the_whole_record(run):
    out = run / "out"
    result = json.loads((out / "result.json").read_text())
    assert result["status"] == "done" and result["steps"] == 5 and result["images"] == 3
    assert list(result["scores"]) == ["pixel_acc", "mean_acc", "miou", "fw_iou"]
    assert all(0 <= score <= 1 for score in result["scores"].values())
    confusion = (out / "confusion.csv").read_text().splitlines()
    matrix = np.array([row.split(",")[1:] for row in confusion[1:]], int)
    assert matrix.shape == (8, 8) and matrix.sum() == result["pixels"]
    assert matrix.trace() / matrix.sum() == pytest.approx(result["scores"]["pixel_acc"])
    assert "val/miou" in (out / "metrics.csv").read_text()
    assert "skips:" in (out / "config.yaml").read_text()
    kept = sorted(path.name for path in (out / "checkpoints").iterdir())
    assert kept == ["SHA256SUMS", "last.ckpt", "previous.ckpt"]
    stored = torch.load(out / "checkpoints/last.ckpt", weights_only=True)
    assert stored["global_step"] == 5  # also where that is no multiple of score_every
    assert list((out / "wandb").glob("offline-run-*"))
    assert len(list((out / "pictures").glob("*.png"))) == 3  # two and the sheet


def test_terminal_shows_scores_classes_and_what_to_type_next(run):
    text = (run / "stdout.txt").read_text()
    assert "mean IU" in text and "checked_tile" in text and str(run) not in text
    *_, pictures, record, predict, report = text.splitlines()
    assert (pictures, record) == ("pictures  out/pictures", "record    out")
    for command in (predict, report):
        python, _, module, *words = shlex.split(command)
        assert python == "python" and module.startswith("fcnexp.")
        done = fcnexp(module.removeprefix("fcnexp."), *words, folder=run, cache=run / "cache")
        assert done.returncode == 0, done.stderr
    assert predict.startswith(
        "python -m fcnexp.predict checkpoint=out/checkpoints/last.ckpt input=out/pictures/panels/"
    )
    assert report == "python -m fcnexp.report out"


def test_the_log_has_what_the_documents_say(run):
    log = (run / "out/train.log").read_text()
    assert "step 4 of 5: loss " in log and re.search(r"trained \d+ s, mean IU \d+\.\d %", log)


def test_paths_start_where_the_command_was_given(run):
    """Also those of defaults, and if Hydra changes the folder."""
    (run / "image.png").write_bytes((run / "out/pictures/sheet.png").read_bytes())
    words = ["checkpoint=out/checkpoints/last.ckpt", "input=image.png", "output=there"]
    words += ["hydra.job.chdir=true", "hydra.run.dir=elsewhere"]
    done = fcnexp("predict", *words, folder=run, cache=run / "cache")
    assert done.returncode == 0, done.stderr
    assert (run / "there/image.png").is_file() and "labelled in there" in done.stdout
    start = ["init=checkpoint", "init.path=out/checkpoints/last.ckpt", "regime.steps=1"]
    words = [*TINY, *start, "hydra.job.chdir=true", "hydra.run.dir=moved", "logger=csv"]
    done = fcnexp("train", *words, "-m", "seed=1", folder=run, cache=run / "cache")
    assert done.returncode == 0, done.stderr
    assert fcnexp("train", *words, folder=run, cache=run / "cache").returncode == 0
    assert (run / "moved/result.json").is_file()


@pytest.mark.parametrize(
    ("path", "name"), [("here", "python"), ("/nowhere", short(sys.executable))]
)
def test_commands_to_paste_start_the_same_python(path, name, monkeypatch):
    monkeypatch.setenv("PATH", activated() if path == "here" else path)
    assert last_words.python() == name


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "prepare", "report"])
def test_the_version_is_ours(command, tmp_path):
    done = fcnexp(command, "--version", folder=tmp_path, cache=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"fcnexp {__version__}\n")


def test_evaluate_repeats_the_runs_scores(run):
    done = fcnexp(
        *("evaluate", "checkpoint=out/checkpoints/last.ckpt", "hydra.run.dir=scored", "workers=0"),
        folder=run,
        cache=run / "cache",
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((run / d / "result.json").read_text()) for d in ("out", "scored"))
    assert first["scores"] == second["scores"] and first["precision"] == second["precision"]
    assert (run / "out/confusion.csv").read_text() == (run / "scored/confusion.csv").read_text()


def test_evaluate_on_other_data_checks_its_classes(run):
    voc_tree(run / "voc")
    done = fcnexp(
        *("evaluate", "checkpoint=out/checkpoints/last.ckpt", "data=voc", "data.root=voc"),
        folder=run,
        cache=run / "cache",
    )
    assert done.returncode == 1
    assert "trained on 8 classes (background, disc" in done.stderr
    assert "choose data with the same classes" in done.stderr


def test_predict_labels_every_photograph(run):
    photos = run / "photos"
    photos.mkdir()
    Image.new("RGB", (30, 20), (9, 80, 200)).save(photos / "blue.jpg")
    Image.new("L", (7, 65)).save(photos / "thin.png")
    arguments = ["checkpoint=out/checkpoints/last.ckpt", "output=labels", "save_scores=true"]
    done = fcnexp("predict", *arguments, "input=photos", folder=run, cache=run / "cache")
    assert done.returncode == 0, done.stderr
    label = Image.open(run / "labels/blue.png")
    assert label.mode == "P" and label.size == (30, 20)
    assert Image.open(run / "labels/thin_overlay.png").size == (7, 65)
    scores = np.load(run / "labels/blue.npy")
    assert scores.dtype == np.float32 and scores.shape == (8, 20, 30)
    np.testing.assert_array_equal(scores.argmax(0), np.asarray(label))


def test_predict_never_replaces_a_photograph(run):
    photos = run / "mine"
    photos.mkdir()
    Image.new("RGB", (8, 8)).save(photos / "a.png")
    before = (photos / "a.png").read_bytes()
    arguments = ["checkpoint=out/checkpoints/last.ckpt", "input=mine/a.png", "output=mine"]
    done = fcnexp("predict", *arguments, folder=run, cache=run / "cache")
    assert done.returncode == 1 and "a.png would overwrite an input image" in done.stderr
    assert (photos / "a.png").read_bytes() == before


def test_predict_does_the_rest_when_one_file_is_broken(run):
    photos = run / "mixed"
    photos.mkdir()
    Image.new("RGB", (8, 8)).save(photos / "good.png")
    (photos / "bad.jpg").write_bytes(b"\xff\xd8 cut")
    arguments = ["checkpoint=out/checkpoints/last.ckpt", "output=some", "input='mixed/*'"]
    done = fcnexp("predict", *arguments, folder=run, cache=run / "cache")
    assert done.returncode == 1 and "bad.jpg: damaged" in done.stderr
    assert (run / "some/good.png").is_file() and not (run / "some/bad.png").exists()


def test_init_checkpoint_continues_from_the_weights(run):
    arguments = [*TINY, "init=checkpoint", "init.path=out/checkpoints/last.ckpt"]
    done = fcnexp(
        *("train", *arguments, "regime.lr=0", "logger=csv", "hydra.run.dir=again"),
        folder=run,
        cache=run / "cache",
    )
    assert done.returncode == 0, done.stderr
    before, after = (
        torch.load(run / folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for folder in ("out", "again")
    )
    weights = [name for name in before if name.endswith(("weight", "bias"))]
    assert len(weights) > 20
    assert all(torch.equal(before[name], after[name]) for name in weights)  # the rate was 0
    other = fcnexp(
        *("train", *TINY[1:], "init=checkpoint", "init.path=out/checkpoints/last.ckpt"),
        folder=run,
        cache=run / "cache",
    )
    assert (
        other.returncode == 1 and "last.ckpt: from a different net; size mismatch" in other.stderr
    )


MISTAKES = {
    "unknown option": (["model=fcn8"], "model=fcn8: no such option (did you mean fcn8s?)"),
    "unknown group": (["modle=fcn8s"], "modle: no such key (did you mean model?)"),
    "misspelt key": (["regime.lrr=1"], "regime.lrr: no such key (did you mean regime.lr?)"),
    "wrong type": (["regime.steps=x"], "regime.steps: Value 'x'"),
    "unreadable": (["regime.lr=[1"], "regime.lr=[1: cannot be read as it is; regime.lr is a numb"),
    "key of a dict": (["regime.optimizer={a:1}"], "regime.optimizer.a: no such key"),
    "missing folder": (["data=voc", "data.root=nowhere"], "data.root=nowhere: no such folder"),
    "misspelt experiment": (["experiment=fcn"], "experiment=fcn: no such option"),
    "null group": (["modality=null"], "a group cannot be null"),
    "number below": (["regime.steps=-1"], "regime.steps=-1: must be 0 or more"),
    "key of another option": (["head.channels=5"], "head.channels: no such key"),
    "order of skips": (["model.skips=[8]"], "model: skips=[8]: each fusion doubles the map"),
    "missing value": (["init=caffemodel"], "init.path: required, but not given"),
    "missing file": (
        ["backbone=googlenet", "init=caffemodel", "init.path=gone.caffemodel"],
        "gone.caffemodel",
    ),
    "step of 8 images": (["trainer.devices=3"], "trainer.devices=3: a step of regime.batch_size=8"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_gives_one_line_and_leaves_nothing(tmp_path, mistake, run):
    overrides, message = MISTAKES[mistake]
    small = [] if "data=voc" in overrides else ["data.num_train=6", "data.num_val=3"]
    small += [] if "data=voc" in overrides else ["data.side=[48,56]"]
    done = fcnexp(
        "train", *small, *overrides, "hydra.run.dir=out", folder=tmp_path, cache=run / "cache"
    )
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]
    assert not (tmp_path / "out").exists()


def half_a_caffemodel(folder: Path) -> list[str]:
    path = folder / "half.caffemodel"
    write_caffemodel(path, {"conv1/7x7_s2": [np.ones((64, 3, 7, 7), np.float32), np.ones(64)]})
    path.write_bytes(path.read_bytes()[:20000])
    return ["backbone=googlenet", "init=caffemodel", "init.path=half.caffemodel"]


def wrong_nets_caffemodel(folder: Path) -> list[str]:
    write_caffemodel(folder / "other.caffemodel", {"conv9": [np.ones((2, 2), np.float32)]})
    return ["backbone=googlenet", "init=caffemodel", "init.path=other.caffemodel"]


def label_77(folder: Path) -> list[str]:
    label = np.full((2, 3), 77, np.uint8)
    save_indexed(voc_tree(folder / "voc") / "SegmentationClass/a.png", label)
    return ["data=voc", "data.root=voc"]


def label_of_another_size(folder: Path) -> list[str]:
    label = np.zeros((5, 3), np.uint8)
    save_indexed(voc_tree(folder / "voc") / "SegmentationClass/a.png", label)
    return ["data=voc", "data.root=voc"]


FILES = {
    half_a_caffemodel: "half.caffemodel is damaged or cut short",
    wrong_nets_caffemodel: "other.caffemodel: the file has no blobs for 57 of the net's 60 layers",
    label_77: "voc/SegmentationClass/a.png: label value 77 in 6 pixels; allowed are 0 to 20",
    label_of_another_size: "voc/SegmentationClass/a.png: is 3x5, but voc/JPEGImages/a.jpg is 3x2",
}


@pytest.mark.parametrize("damage", FILES, ids=lambda damage: damage.__name__)
def test_bad_file_is_named_and_no_result_is_left(tmp_path, damage, run):
    wrong = damage(tmp_path)
    small = ["regime.steps=1", "workers=0", "logger=csv", "hydra.run.dir=out"]
    small += [] if "data=voc" in wrong else ["data.num_train=6", "data.num_val=3"]
    done = fcnexp("train", *wrong, *small, folder=tmp_path, cache=run / "cache")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and FILES[damage] in last
    assert not (tmp_path / "out/result.json").exists()


def test_broken_photograph_is_named_although_another_process_read_it(tmp_path):
    path = voc_tree(tmp_path / "voc") / "JPEGImages/a.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    done = fcnexp(
        *("train", "data=voc", "data.root=voc", "regime.steps=1", "workers=1", "logger=csv"),
        *("hydra.run.dir=out", "augment=none"),
        folder=tmp_path,
        cache=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: voc/JPEGImages/a.jpg: damaged")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out/result.json").exists()


def test_loss_that_is_not_a_number_stops_with_step_and_images(run):
    done = fcnexp(
        *(
            "train",
            *TINY,
            "logger=csv",
            "modality.rgb.std=[1e-38,1e-38,1e-38]",
            "hydra.run.dir=nan",
        ),
        folder=run,
        cache=run / "cache",
    )
    assert done.returncode == 1
    assert "error: loss is nan at step " in done.stderr
    assert not (run / "nan/result.json").exists()


def test_finished_run_is_not_overwritten(run):
    before = (run / "out/result.json").read_text()
    done = fcnexp("train", *TINY, "hydra.run.dir=out", folder=run, cache=run / "cache")
    assert done.returncode == 0 and "done before" in done.stdout
    assert (run / "out/result.json").read_text() == before


def test_dry_run_checks_and_writes_nothing(run):
    done = fcnexp(
        "train", "backbone=vgg16", "dry_run=true", "hydra.run.dir=dry", folder=run, cache=run
    )
    assert done.returncode == 0, done.stderr
    assert "config is fine: a net of 134," in done.stdout
    assert not (run / "dry").exists()


def test_folder_of_the_users_own_logs_is_left_alone(tmp_path, run):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/mine.log").write_text("precious")
    done = fcnexp("train", "regime.steps=-1", "hydra.run.dir=logs", folder=tmp_path, cache=run)
    assert done.returncode == 1
    assert (tmp_path / "logs/mine.log").read_text() == "precious"
