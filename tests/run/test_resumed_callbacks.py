"""Runs with an average and early stopping, interrupted, resume to the bit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import fcnexp
from kill_points import overrides
from kill_runs import differing, outcome_of

from fcnexp.task.module import SegmentationTask

# Steps have two passes; validations are after steps 3, 6, 9 and 10; early stopping ends at 6.
EMA = ["callbacks=ema", "callbacks.ema.decay=0.8"]
BOTH = ["callbacks=[early_stopping,ema]", *EMA[1:], "callbacks.early_stopping.patience=1"]
BOTH += ["callbacks.early_stopping.min_delta=1"]
POINTS = {  # callbacks, what fails at which call, step from which the run resumes
    "between passes": (EMA, "on_after_backward", 9, 3),
    "last pass": (EMA, "on_after_backward", 20, 9),
    "between passes, stops early": (BOTH, "on_after_backward", 9, 3),
    "decided to stop, not scored": (BOTH, "on_validation_start", 3, 6),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def uninterrupted(cache, tmp_path_factory) -> Callable[[str], dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}

    def outcome(name: str) -> dict[str, Any]:
        if name not in found:
            folder = tmp_path_factory.mktemp(name)
            train({"ema": EMA, "both": BOTH}[name], folder, cache)
            steps = json.loads((folder / "out/result.json").read_text())["steps"]
            assert steps == {"ema": 10, "both": 6}[name]
            found[name] = outcome_of(folder / "out")
        return found[name]

    return outcome


def train(callbacks: list[str], folder: Path, cache: Path, *more: str) -> str:
    done = fcnexp("train", *overrides("whole", 1), *callbacks, *more, folder=folder, cache=cache)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fail_at(monkeypatch, name: str, number: int) -> None:
    """Make a method of the task fail at its n-th call."""
    calls, own = [], getattr(SegmentationTask, name)

    def failing(self, *arguments):
        calls.append(1)
        if len(calls) == number:
            raise ZeroDivisionError("planted")
        return own(self, *arguments)

    monkeypatch.setattr(SegmentationTask, name, failing)


@pytest.mark.parametrize("point", POINTS)
def test_interrupted_run_ends_bit_identical(point, uninterrupted, cache, tmp_path, monkeypatch):
    callbacks, method, number, step = POINTS[point]
    expected = uninterrupted("ema" if callbacks is EMA else "both")
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError, match="planted"):
        fail_at(patch, method, number)
        train(callbacks, tmp_path, cache)
    assert f"continues after step {step}," in train(callbacks, tmp_path, cache)
    averages = [key for key in expected if "last.ckpt.averaging_state" in key]
    differ = differing(expected, outcome_of(tmp_path / "out"))
    # Lightning also counts the batches of a scoring after the training, which is repeated here.
    assert averages and [key for key in differ if ".loops.validate_loop." not in key] == []


def test_a_run_of_more_steps_goes_on_from_weights_and_average(cache, tmp_path):
    """Although it ended between two scorings, with the average as the net's weights."""
    steady = [w for w in overrides("whole", 1) if "schedule" not in w and "steps" not in w]
    stored = {}
    for name, lengths in {"whole": [7], "longer": [4, 7]}.items():
        (tmp_path / name).mkdir()
        for steps in lengths:
            words = [*steady, *EMA, f"regime.steps={steps}"]
            done = fcnexp("train", *words, folder=tmp_path / name, cache=cache)
            assert done.returncode == 0, done.stderr
        stored[name] = torch.load(tmp_path / name / "out/checkpoints/last.ckpt", weights_only=True)
    assert "goes on from 4 to 7 steps" in done.stdout
    for part in ("state_dict", "current_model_state", "averaging_state"):
        whole, longer = (stored[name][part] for name in stored)
        assert whole.keys() == longer.keys()
        assert not [key for key in whole if not torch.equal(whole[key], longer[key])], part
