"""Data that an offline run logs to W&B, read from its file."""

import base64
import hashlib
import json
from collections import Counter

import numpy as np
import pytest
from commands import TINY, fcnexp
from PIL import Image
from wandb_file import records, runs_below

from fcnexp import VOID
from fcnexp.data.generated.shapes import CLASS_NAMES


def test_logged_keys_are_complete(run, result):
    classes = {f"iou/{name}" for name, iou in result["class_iou"].items() if iou is not None}
    assert run.keys == classes | {
        *("train/loss", "val/miou", "val/pixel_acc", "val/mean_acc", "val/fw_iou"),
        *("lr/weight", "lr/norm", "lr/score_weight", "lr/score_bias"),
        *("cost/images_per_second", "cost/peak_memory"),
        *("val/predictions", "val/classes", "val/confusion_table", "val/confusion_picture"),
        *("val/paper", "trainer/global_step"),
    }


def test_numbers_and_steps_match_the_record(run, result):
    steps = [line["trainer/global_step"] for line in run.history if "val/miou" in line]
    assert steps == [10, 20, 25]
    last = [line for line in run.history if "val/miou" in line][-1]
    for name, score in result["scores"].items():
        assert last[f"val/{name}"] == pytest.approx(score, abs=1e-6)
    rates = [line["lr/weight"] for line in run.history if "lr/weight" in line]
    assert len(rates) == 2 and rates[0] > rates[1] > 0  # steps 10 and 20, past the peak
    assert run.summary["cost/peak_memory"] == pytest.approx(result["peak_memory"], rel=0.2)
    assert run.summary["iou/background"] == result["class_iou"]["background"]


def test_run_is_found_by_name_tags_and_config(run, folder):
    assert run.run.display_name == "fcn8s_tiny_seed0_out" and not run.run.run_group
    assert list(run.run.tags) == ["cvpr_table2", "FCN-8s", "fcn8s", "tiny"]
    assert run.run.job_type == "run" and run.exit_code == 0
    assert run.run.run_id == (folder / "out/wandb_id.txt").read_text().strip()
    assert run.config["regime"]["steps"] == 25 and run.config["model"]["skips"] == [16, 8]
    assert run.config["data"]["side"] == [48, 56]


def test_predictions_show_the_same_images_with_masks(run, folder):
    shown = [line["val/predictions"] for line in run.history if "val/predictions" in line]
    assert [panel["captions"] for panel in shown] == [["val_0000", "val_0002"]] * 3
    assert max(shown[0]["width"], shown[0]["height"]) == 40
    sizes, masks = set(), []
    for mask in shown[-1]["all_masks"]:
        assert set(mask) == {"prediction", "truth", "wrong"}
        arrays = {
            name: np.asarray(Image.open(run.media / one["path"])) for name, one in mask.items()
        }
        sizes |= {array.shape for array in arrays.values()}
        masks.append(arrays)
    assert sizes == {(shown[0]["height"], shown[0]["width"])}
    for each in masks:
        void, wrong = each["truth"] == VOID, each["prediction"] != each["truth"]
        assert np.array_equal(each["wrong"], np.where(void, VOID, wrong))
    truths = {mask["truth"]["path"] for panel in shown for mask in panel["all_masks"]}
    assert len({path.rpartition("_")[2] for path in truths}) == 2  # two images, the same each time


def test_masks_name_their_classes(run):
    kept = run.config["_wandb"]["mask/class_labels"]
    named = {
        key.rpartition("_")[2]: {int(index): name for index, name in labels["value"].items()}
        for key, labels in kept.items()
    }
    classes = {**dict(enumerate(CLASS_NAMES)), VOID: "void"}
    judged = {0: "right", 1: "wrong", VOID: "void"}
    assert named == {"prediction": classes, "truth": classes, "wrong": judged}


def test_tables_match_the_result(run, result, folder):
    classes = run.table("val/classes")
    assert classes["columns"] == ["class", "IU", "accuracy", "pixels"]
    lines = (folder / "out/confusion.csv").read_text().splitlines()[1:]
    matrix = np.array([line.split(",")[1:] for line in lines], int)
    assert [row[0] for row in classes["data"]] == list(result["class_iou"])
    assert [row[1] for row in classes["data"]] == list(result["class_iou"].values())
    assert [row[2] for row in classes["data"]] == list(result["class_acc"].values())
    assert [row[3] for row in classes["data"]] == matrix.sum(1).tolist()
    cells = run.table("val/confusion_table")["data"]
    fractions = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    assert [cell[:2] for cell in cells[:2]] == [["background"] * 2, ["background", "disc"]]
    np.testing.assert_allclose([cell[2] for cell in cells], fractions.ravel())
    paper = run.table("val/paper")
    ours = {row[0]: row for row in paper["data"]}["miou"]
    remark = "different data from the paper's"
    expected = [62.7, None, "FCN-8s", "CVPR 2015, table 2", "verified", remark]
    assert ours[1] == pytest.approx(100 * result["scores"]["miou"]) and ours[2:] == expected


def test_resumed_run_keeps_its_id_and_a_restarted_run_gets_a_new_one(folder):
    tiny = [*TINY, "logger.images=0", "hydra.run.dir=again"]
    for steps in (5, 5):
        done = fcnexp("train", *tiny, f"regime.steps={steps}", folder=folder, cache=folder)
        assert done.returncode == 0, done.stderr
        (folder / "again/result.json").unlink()  # as if it had been interrupted
    for each in (folder / "again").iterdir():
        if each.name != "wandb" and each.name != "wandb_id.txt":
            each.rename(folder / f"away_{each.name}")
    done = fcnexp("train", *tiny, "regime.steps=5", folder=folder, cache=folder)
    assert done.returncode == 0, done.stderr
    ids = Counter(run.run.run_id for run in runs_below(folder / "again"))
    restarted = (folder / "again/wandb_id.txt").read_text().strip()
    assert sorted(ids.values()) == [1, 2] and ids[restarted] == 1
    assert len({name.partition("-")[0] for name in ids}) == 1  # the job's digest


def test_best_checkpoint_becomes_an_artifact_on_request(tmp_path):
    asked = ["logger.wandb.checkpoint=best", "keep_best=true", "hydra.run.dir=out"]
    done = fcnexp("train", *TINY, *asked, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = runs_below(tmp_path / "out")
    (file,) = run.media.parent.glob("*.wandb")
    (model,) = (r.artifact for r in records(file) if r.artifact.type == "model")
    result = json.loads((tmp_path / "out/result.json").read_text())
    content = (tmp_path / "out/checkpoints/best.ckpt").read_bytes()
    (entry,) = model.manifest.contents
    assert (model.name, sorted(model.aliases)) == (f"model-{run.run.run_id}", ["best", "latest"])
    assert (entry.path, entry.size) == ("best.ckpt", len(content))
    assert base64.b64decode(entry.digest) == hashlib.md5(content).digest()
    assert json.loads(model.metadata)["best"] == result["best"]


def test_jobs_of_a_sweep_form_one_group_and_failed_jobs_are_marked(tmp_path):
    command = [*TINY, "logger.images=0", "pictures=0", "hydra.sweep.dir=mine", "seed=0,1"]
    command += ["modality.rgb.std=[1,1,1],[1e-38,1e-38,1e-38]"]  # the second makes the loss NaN
    done = fcnexp("train", "-m", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1
    runs = runs_below(tmp_path / "mine")
    assert len({run.run.run_id for run in runs}) == 4
    assert {run.run.run_group for run in runs} == {"mine"}
    assert sorted(run.exit_code for run in runs) == [0, 0, 1, 1]
    assert {run.run.display_name for run in runs} == {
        path.name for path in (tmp_path / "mine").glob("fcn8s_tiny_seed*")
    }
    assert all(("val/classes" in run.keys) == (run.exit_code == 0) for run in runs)
