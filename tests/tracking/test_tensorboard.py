"""TensorBoard logging in addition to metrics.csv."""

import importlib.util
import json

import pytest
from commands import TINY, fcnexp


def test_events_hold_the_scores(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    command = [*TINY, "logger=tensorboard", "hydra.run.dir=out"]
    done = fcnexp("train", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    events = EventAccumulator(str(tmp_path / "out/tensorboard"))
    events.Reload()
    keys = {"train/loss", "val/miou", "val/pixel_acc", "lr/score_weight", "cost/peak_memory"}
    assert keys <= set(events.Tags()["scalars"])
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert events.Scalars("val/miou")[-1].value == pytest.approx(result["scores"]["miou"], abs=1e-6)
    assert "val/miou" in (tmp_path / "out/metrics.csv").read_text()
    assert not (tmp_path / "out/wandb").exists()


def test_missing_extra_is_named(monkeypatch, tmp_path):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find_spec(name)
    )
    command = [*TINY, "logger=tensorboard", "hydra.run.dir=out"]
    done = fcnexp("train", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and not (tmp_path / "out").exists()
    assert done.stderr == (
        "error: logger=tensorboard: not installed; try pip install -e '.[tensorboard]'\n"
    )
