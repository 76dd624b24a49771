"""A whole net from training to its file for other programs, by commands."""

import json

import numpy as np
import pytest
import torch
from commands import fcnexp
from PIL import Image

from fcnexp.task.module import SegmentationTask

NET = [
    *("model=lraspp_mobilenet_v3_large", "masking=reference_fg", "data.num_train=6"),
    *("data.num_val=3", "data.side=[48,56]", "regime.batch_size=2", "workers=0", "pictures=0"),
    *("logger=csv", "trainer=cpu", "trainer.precision=32-true"),
]
STEPS = ["regime.steps=4", "regime.score_every=2"]


def train(folder, *more: str):
    done = fcnexp("train", *NET, *STEPS, *more, folder=folder, cache=folder)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(folder, "hydra.run.dir=a")
    return folder


def weights(folder, name: str) -> dict:
    path = folder / name / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]


def test_record_names_the_parts(run):
    record = json.loads((run / "a" / "result.json").read_text())
    assert record["steps"] == 4 and record["masked"] == "background"
    chosen = {"model": "lraspp_mobilenet_v3_large", "backbone": "none", "dense": "none"}
    assert chosen.items() <= record["choices"].items()


def test_resumed_run_ends_with_the_same_bits(run, monkeypatch):
    calls, own = [], SegmentationTask.on_after_backward

    def failing(self):
        calls.append(1)
        if len(calls) == 4:  # in the last step; the checkpoint is from the second
            raise ZeroDivisionError("planted")
        return own(self)

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError, match="planted"):
        patch.setattr(SegmentationTask, "on_after_backward", failing)
        train(run, "hydra.run.dir=b")
    assert "continues after step 2" in train(run, "hydra.run.dir=b").stdout
    whole, resumed = (weights(run, name) for name in "ab")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_onnx_file_predicts_the_same_labels(run):
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    pixels = np.random.default_rng(0).integers(0, 256, (37, 61, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(run / "photo.png")
    file = "checkpoint=a/checkpoints/last.ckpt"
    done = fcnexp("export", file, "output=net.onnx", folder=run, cache=run)
    assert done.returncode == 0 and "scores differ from the net's by at most" in done.stdout
    for net, place in ((file, "one"), ("onnx=net.onnx", "two")):
        typed = [net, "input=photo.png", f"output={place}", "save_scores=true"]
        done = fcnexp("predict", *typed, folder=run, cache=run)
        assert done.returncode == 0, done.stderr
    one, two = (np.load(next((run / p).rglob("*.npy"))) for p in ("one", "two"))
    assert one.shape[-2:] == (37, 61) and np.abs(one - two).max() <= 1e-5 * np.abs(one).max()


def test_evaluation_gives_the_runs_scores(run):
    file = "checkpoint=a/checkpoints/last.ckpt"
    typed = [file, "trainer=cpu", "workers=0", "pictures=0", "hydra.run.dir=scored"]
    done = fcnexp("evaluate", *typed, folder=run, cache=run)
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((run / d / "result.json").read_text()) for d in ("a", "scored"))
    assert one["scores"]["miou"] == pytest.approx(two["scores"]["miou"])


def test_explain_says_what_does_not_apply(run):
    done = fcnexp("explain", "model=fcn_resnet50", "size=[65,97]", folder=run, cache=run)
    assert done.returncode == 0 and "65 x 97" in done.stdout and "│ learnable" in done.stdout
    assert "receptive fields are derived from the layers of FCNs" in done.stdout
    Image.new("RGB", (64, 48)).save(run / "p.png")
    typed = ["figure=receptive_field", "image=p.png", "model=fcn_resnet50"]
    done = fcnexp("explain", *typed, folder=run, cache=run)
    assert done.returncode == 1 and "but this is a whole net; choose model=fcn8s" in done.stderr
