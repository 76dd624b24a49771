"""A small finished run: its folder and its W&B file."""

import json
from pathlib import Path

import pytest
from commands import TINY, fcnexp
from wandb_file import WandbFile, runs_below

NET = [*TINY, "regime.steps=25", "regime.score_every=10", "logger.images=2", "logger.side=40"]
PAPER = "paper={table: cvpr_table2, row: FCN-8s}"


@pytest.fixture(scope="package")
def folder(tmp_path_factory) -> Path:
    """A folder with a finished run in `out/`."""
    folder = tmp_path_factory.mktemp("run")
    done = fcnexp("train", *NET, PAPER, "hydra.run.dir=out", folder=folder, cache=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="package")
def run(folder) -> WandbFile:
    (found,) = runs_below(folder / "out")
    return found


@pytest.fixture(scope="package")
def result(folder) -> dict:
    return json.loads((folder / "out/result.json").read_text())
