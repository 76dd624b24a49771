"""`python -m fcnexp.evaluate`: scores by other conventions, and scores near boundaries."""

import csv
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from commands import TINY, fcnexp
from made_up_runs import write_confusion, write_scored
from PIL import Image
from scored_images import random_record

from fcnexp.reporting.image_facts import interval_facts
from fcnexp.scoring.by_image import image_iu
from fcnexp.scoring.per_image import read_per_image
from fcnexp.task.module import SegmentationTask

NAMED = [["val_0000"], ["val_0001"], ["val_0002"]]
LAST = "checkpoint=out/checkpoints/last.ckpt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a short run in out/, scored again with trimap bands in scored/."""
    folder = tmp_path_factory.mktemp("evaluate")
    run = ["regime.steps=3", "logger=csv", "hydra.run.dir=out"]
    done = fcnexp("train", *TINY, *run, folder=folder, cache=folder)
    assert done.returncode == 0, done.stderr
    bands = ["trimap=[1,3,200]", "hydra.run.dir=scored", "workers=0"]
    done = fcnexp("evaluate", LAST, *bands, folder=folder, cache=folder)
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    return folder


def evaluate(folder: Path, *arguments: str):
    return fcnexp("evaluate", *arguments, folder=folder, cache=folder)


def test_every_result_has_the_conventions(folder):
    for run in ("out", "scored"):
        result = json.loads((folder / run / "result.json").read_text())
        release = result["conventions"]["release"]
        assert all(release[key] == result["scores"][key] for key in ("miou", "pixel_acc"))
        present = result["conventions"]["present_in_truth"]["miou"]
        assert present == pytest.approx(result["miou_of_classes_in_truth"])


def test_sigterm_is_not_a_success_and_the_folder_can_be_used_again(folder, monkeypatch):
    step = SegmentationTask.validation_step

    def stop(self, batch, batch_idx):
        os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, batch_idx)

    given = [LAST, "workers=0", "hydra.run.dir=stopped"]
    with monkeypatch.context() as patched:
        patched.setattr(SegmentationTask, "validation_step", stop)
        done = evaluate(folder, *given)
    assert done.returncode == 143 and "stopped by SIGTERM" in done.stdout
    assert not (folder / "stopped/result.json").exists()
    assert evaluate(folder, *given).returncode == 0


def test_bands_are_saved_printed_and_drawn(folder):
    record = json.loads((folder / "scored/trimap.json").read_text())
    result = json.loads((folder / "scored/result.json").read_text())
    pixels = [band["pixels"] for band in record["bands"]]
    assert [band["width"] for band in record["bands"]] == [1, 3, 200] and pixels[0] < pixels[1]
    assert record["whole"] == {"pixels": result["pixels"]} | result["scores"]
    # The widest band covers whole images, since each has more than one class.
    assert record["bands"][2] == {"width": 200} | record["whole"]
    with (folder / "scored/trimap.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["width"] for line in lines] == ["1", "3", "200", "all"]
    assert float(lines[0]["miou"]) == record["bands"][0]["miou"]
    assert "Near boundaries (%)" in (folder / "stdout.txt").read_text()
    plot = np.asarray(Image.open(folder / "scored/trimap.png").convert("RGB")).reshape(-1, 3)
    for colour in ((0, 114, 178), (213, 94, 0)):
        assert (plot == colour).all(-1).sum() > 500


def test_without_widths_there_are_no_bands(folder):
    assert not list((folder / "out").glob("trimap*"))


def test_training_and_evaluation_keep_the_same_counts_of_each_image(folder):
    trained, scored = (read_per_image(folder / run) for run in ("out", "scored"))
    assert trained.names == scored.names == ("val_0000", "val_0001", "val_0002")
    assert np.array_equal(trained.margins(), scored.margins())
    assert trained.bands() == [] and scored.bands() == [1, 3, 200]
    assert np.array_equal(scored.matrix("band_200"), scored.matrix())
    result = json.loads((folder / "scored/result.json").read_text())
    assert result["intervals"] is None  # from three images
    assert 0 < result["conventions"]["torchmetrics_images"]["miou"] < 1


def test_objects_are_saved_printed_and_drawn(folder):
    with (folder / "scored/objects.csv").open() as file:
        lines = list(csv.DictReader(file))
    objects = sum(int(line["objects"]) for line in lines)
    assert objects == len(read_per_image(folder / "scored").tables["objects"][1])
    said = (folder / "stdout.txt").read_text()
    assert "Objects by size" in said and "touching objects of one class count as one" in said
    plot = np.asarray(Image.open(folder / "scored/objects.png").convert("RGB")).reshape(-1, 3)
    for colour in ((0, 114, 178), (213, 94, 0), (0, 158, 115)):
        assert (plot == colour).all(-1).sum() > 100


def test_worst_images_are_drawn_as_they_were_scored(folder):
    record = read_per_image(folder / "scored")
    scores = image_iu(record.margins())
    said = (folder / "stdout.txt").read_text()
    listed = [line.split()[0] for line in said.splitlines() if line.split()[:1] in NAMED]
    assert listed == [record.names[i] for i in np.argsort(scores)]
    panels = folder / "scored/pictures/worst/panels"
    assert {panel.name for panel in panels.iterdir()} == {*record.names}
    for name, counts in zip(record.names, record.margins(), strict=True):
        truth, guess = (
            np.asarray(Image.open(panels / name / f"{n}.png")) for n in ("truth", "prediction")
        )
        assert (guess == truth).sum() == counts[0].sum()
    assert (folder / "scored/pictures/worst/sheet.png").is_file()
    assert (folder / "out/pictures/worst/sheet.png").is_file()


def test_images_to_draw_can_be_named(folder):
    given = [LAST, "workers=0", "draw=[val_0002]", "pictures=1", "object_sizes=[4,20]"]
    done = evaluate(folder, *given, "hydra.run.dir=drawn")
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (folder / "drawn/pictures/panels").iterdir()] == ["val_0002"]
    assert len([*(folder / "drawn/pictures/worst/panels").iterdir()]) == 1
    assert "4-20" in done.stdout and "4-20" in (folder / "drawn/objects.csv").read_text()


def test_run_is_rescored_by_image_without_its_data(folder):
    done = evaluate(folder, "run=scored")
    assert done.returncode == 0, done.stderr
    for words in ("Objects by size", "Worst images", "smp_macro_images", "torchmetrics_images"):
        assert words in done.stdout
    assert "not listed" not in done.stdout


def test_enough_images_give_intervals(tmp_path):
    run = write_scored(tmp_path / "run", random_record(0, images=40))
    record = read_per_image(run)
    write_confusion(run, record.classes, record.matrix().tolist())
    done = evaluate(tmp_path, "run=run")
    assert done.returncode == 0 and "95 % interval" in done.stdout, done.stderr
    ends = interval_facts(record)["scores"]["miou"]
    assert f"[{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]" in done.stdout


def test_run_is_scored_from_its_matrix_alone(tmp_path):
    (tmp_path / "old").mkdir()
    counts = [[6, 0, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0], [2, 0, 0, 0]]
    write_confusion(tmp_path / "old", ["sky", "sea", "road", "cow"], counts)
    done = evaluate(tmp_path, "run=old")
    assert done.returncode == 0, done.stderr
    cells = {
        words[0]: [word.rstrip(",") for word in words[1:6]]
        for words in (line.split() for line in done.stdout.splitlines())
        if len(words) > 5
    }
    left_out = ["30.0", "60.0", "37.5", "dropped", "dropped"]
    assert cells["release"] == cells["mmseg"] == ["20.0", "60.0", "37.5", "dropped", "0"]
    assert cells["detectron2"] == cells["present_in_truth"] == left_out
    assert cells["torchvision"] == ["-", "60.0", "-", "NaN", "0"]
    assert cells["paddleseg"] == ["40.0", "60.0", "-", "1", "0"]
    assert cells["paddleseg_older"] == ["15.0", "60.0", "-", "0", "0"]
    assert cells["torchmetrics"] == ["20.0", "60.0", "25.0", "dropped", "0"]
    assert "segmentation.MeanIoU, which averages over images" in done.stdout
    assert "no images.npz in old, which an older version wrote: no intervals" in done.stdout
    assert not list((tmp_path / "outputs/evaluate").iterdir())  # no empty run folder stays


def test_other_conventions_are_left_out_if_all_agree(tmp_path):
    (tmp_path / "old").mkdir()
    write_confusion(tmp_path / "old", ["sky", "sea"], [[5, 1], [2, 7]])
    done = evaluate(tmp_path, "run=old")
    assert done.returncode == 0 and "mean IU" in done.stdout
    assert "conventions" not in done.stdout and "mmseg" not in done.stdout


MISTAKES = {
    "run=gone": "run=gone: no readable confusion.csv there; give a folder that train or evaluate",
    "run=gone checkpoint=x": "x: no such checkpoint",
    f"run=gone {LAST}": "run and checkpoint: give one of them",
    "run=gone trimap=[1]": "trimap: a confusion matrix holds no positions; give checkpoint=FILE",
    f"{LAST} trimap=[3,2]": "trimap=[3, 2]: must be increasing widths in pixels, 1 or more",
    f"{LAST} trimap=[0]": "trimap=[0]: must be increasing widths in pixels",
    f"{LAST} trimap=[]": "trimap=[]: must be increasing widths in pixels",
    f"{LAST} object_sizes=[]": "object_sizes=[]: must be increasing sizes in pixels, above 0",
    "run=out object_sizes=[8,4]": "object_sizes=[8.0, 4.0]: must be increasing sizes in pixels",
    f"{LAST} draw=[cat] hydra.run.dir=x": "draw: no image cat in this validation set; its images",
    f"{LAST} workers=-1": "workers=-1: must be 0 or more",
    f"{LAST} trimap=7": "trimap: must be a list in brackets, such as trimap=[1,2]",
    f"{LAST} hydra.run.dir=out": (
        "already holds a run (result.json); choose another folder, or remove"
    ),
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_mistake_gives_one_line(folder, arguments):
    done = evaluate(folder, *arguments.split())
    assert done.returncode == 1 and MISTAKES[arguments] in done.stderr
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
