"""Real trainings under joblib's launcher, whose processes have a start method of their own."""

import multiprocessing
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from commands import TINY
from made_up_jobs import records

from fcnexp.cli.messages import message_of
from fcnexp.config.compose import PACKAGE
from fcnexp.data.datamodule import SegmentationData
from fcnexp.errors import DataError
from fcnexp.sweep import job

HIDES = "Please call `iter(combined_loader)` first."  # Lightning, after any failure to start


@pytest.mark.slow  # three processes that import torch
@pytest.mark.skipif(not find_spec("joblib"), reason="joblib's launcher is not installed")
def test_joblib_trains_with_data_loading_workers(tmp_path):
    tiny = [word for word in TINY if not word.startswith(("workers", "regime.steps"))]
    launcher = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=out"]
    typed = [*launcher, *tiny, "workers=1", "regime.steps=2", "trainer=cpu", "logger=csv"]
    command = [sys.executable, "-m", "fcnexp.train", *typed, "seed=0,1"]
    paths = {"PYTHONPATH": str(PACKAGE.parent), "FCNEXP_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | paths, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    found = records(tmp_path)
    assert {seed: record["state"] for seed, record in found.items()} == {0: "done", 1: "done"}


def loader_of(method: str, monkeypatch) -> object:
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: method)
    samples = [None] * 3
    data = SegmentationData.for_scoring(None, ("rgb",), 1)  # type: ignore[arg-type]  # unread
    data.val = samples
    return data.val_dataloader()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_start_by_the_method_that_was_chosen(method, monkeypatch):
    loader = loader_of(method, monkeypatch)
    assert loader.multiprocessing_context.get_start_method() == method


def test_workers_start_by_the_systems_method_under_joblib(monkeypatch):
    loader = loader_of("loky", monkeypatch)
    default = multiprocessing.get_all_start_methods()[0]
    assert loader.multiprocessing_context.get_start_method() == default


def hidden(error: Exception) -> RuntimeError:
    """What Lightning raises while it ends a training that failed with this error."""
    try:
        try:
            raise error
        except Exception:
            raise RuntimeError(HIDES)  # noqa: B904  # as Lightning does
    except RuntimeError as last:
        return last


def test_the_exception_that_came_first_is_reported(tmp_path):
    failure = job.describe(hidden(AttributeError("no attribute 'env'")), tmp_path)
    assert (failure["type"], failure["message"]) == ("AttributeError", "no attribute 'env'")
    assert HIDES in failure["traceback"] and "AttributeError" in failure["traceback"]
    mistake = hidden(DataError("a.png: cut short"))
    assert job.describe(mistake, tmp_path)["message"] == "a.png: cut short"
    assert message_of(mistake, "train") == "a.png: cut short"
    other = RuntimeError("of its own")
    other.__context__ = ValueError("earlier")
    assert job.describe(other, tmp_path)["message"] == "of its own"
