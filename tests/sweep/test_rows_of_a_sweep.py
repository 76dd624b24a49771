"""Sweeps whose rows form no grid."""

import json

import pytest
from commands import fcnexp
from made_up_jobs import sweep
from omegaconf import OmegaConf

from fcnexp.sweep.rows import text_of

FILE = """# @package _global_
hydra:
  mode: MULTIRUN
  sweeper:
    params: {seed: "1,0"}
    rows:
      - {model: fcn32s, regime.lr: 1e-3}
      - {model: fcn8s, regime.loss: {reduction: sum, keep: 0.5}, regime.clip: null}
"""


def jobs(folder, *arguments: str, file: str = FILE) -> list[str]:
    """Overrides of the jobs, in their order, without those of the command."""
    (folder / "my/sweeps").mkdir(parents=True, exist_ok=True)
    (folder / "my/sweeps/mine.yaml").write_text(file)
    common = ["--config-dir", str(folder / "my"), "sweeps=mine", *arguments]
    done = sweep(*common, "logger=csv", folder=folder)
    assert done.returncode == 0, done.stderr
    written = [json.loads(file.read_text()) for file in (folder / "out").glob("*/job.json")]
    found = {job["number"]: job["overrides"] for job in written}
    skipped = {"sweeps=mine", "logger=csv"}
    return [" ".join(o for o in found[n] if o not in skipped) for n in sorted(found)]


def test_each_row_runs_with_each_combination_and_rows_change_fastest(tmp_path):
    first = "model=fcn32s regime.lr=0.001"
    second = "model=fcn8s regime.loss={reduction:sum,keep:0.5} regime.clip=null"
    assert jobs(tmp_path) == [
        *(f"{first} seed=1", f"{second} seed=1"),
        *(f"{first} seed=0", f"{second} seed=0"),
    ]
    (config,) = [
        OmegaConf.load(file) for file in (tmp_path / "out").glob("fcn8s*seed1*/config.yaml")
    ]
    assert config.regime.loss.keep == 0.5 and config.regime.loss.reduction == "sum"
    assert config.regime.loss.cell == 1  # the rest of the node is kept


def test_command_line_replaces_the_key_of_a_row(tmp_path):
    assert jobs(tmp_path, "seed=3", "regime.lr=2e-3,4e-3") == [
        *("model=fcn32s seed=3 regime.lr=0.002",),
        "model=fcn8s regime.loss={reduction:sum,keep:0.5} regime.clip=null seed=3 regime.lr=0.002",
        *("model=fcn32s seed=3 regime.lr=0.004",),
        "model=fcn8s regime.loss={reduction:sum,keep:0.5} regime.clip=null seed=3 regime.lr=0.004",
    ]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("model: fcn32s,", 'model: "fcn32s,fcn8s",', "model=fcn32s,fcn8s has several values"),
        ("model: fcn32s", "seed: 4", "seed is in params and in rows; choose one"),
        (
            "      - {model: fcn32s, regime.lr: 1e-3}",
            "      - 3",
            "must be a list of rows, as rows:",
        ),
        ("- {model: fcn32s, regime.lr: 1e-3}", "- {model: fcn33s}", "model=fcn33s: no such option"),
    ],
)
def test_mistake_in_a_row_is_one_line(tmp_path, before, after, words):
    (tmp_path / "my/sweeps").mkdir(parents=True)
    assert before in FILE
    (tmp_path / "my/sweeps/mine.yaml").write_text(FILE.replace(before, after))
    given = ["--config-dir", str(tmp_path / "my"), "sweeps=mine", "dry_run=true", "trainer=cpu"]
    done = fcnexp("train", *given, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1e-07, "1e-07"),
        ([1, None, "a"], "[1,null,a]"),
        ({"a": {"b": [False]}}, "{a:{b:[false]}}"),
        ("'p, q'", "'p, q'"),
    ],
)
def test_value_of_a_file_as_an_override_has_it(value, text):
    assert text_of(value) == text
    assert text_of(OmegaConf.create({"x": value}).x) == text
