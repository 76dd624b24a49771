"""Ranks of a run's processes, with misleading environment variables."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
from commands import TINY, fcnexp

from fcnexp.errors import ConfigError
from fcnexp.system import this_process

RUN = [*TINY, "logger=csv", "trainer=cpu", "hydra.run.dir=out"]
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}
LEFT = ["RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_PORT"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    done = fcnexp("train", *RUN, folder=folder, cache=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def no_ranks(monkeypatch):
    """Remove rank variables for the test and clear the cache of `this_process.rank`."""
    for name in (this_process.RANKS_OF, *this_process.OF_RANKS):
        monkeypatch.setenv(name, "")  # so that monkeypatch restores it
        monkeypatch.delenv(name)
    this_process.rank.cache_clear()
    yield monkeypatch
    this_process.rank.cache_clear()


def train(folder, *arguments: str, **environment: str):
    command = [sys.executable, "-m", "fcnexp.train", *arguments]
    environment = os.environ | {"FCNEXP_CACHE": str(folder)} | environment
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log")
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in files}


def test_stray_rank_does_not_change_a_finished_run(finished):
    before = contents(finished / "out")
    done = train(finished, *RUN, LOCAL_RANK="1", RANK="1", WORLD_SIZE="2")
    assert done.returncode == 0, done.stderr
    assert "done before" in done.stdout and contents(finished / "out") == before


def test_stray_rank_does_not_bypass_the_config_check(finished, no_ranks):
    before = contents(finished / "out")
    no_ranks.setenv("LOCAL_RANK", "1")
    done = fcnexp("train", *RUN, "regime.lr=0.5", folder=finished, cache=finished)
    assert done.returncode == 1 and "was started with regime.lr=" in done.stderr
    assert contents(finished / "out") == before


def test_stray_rank_trains_and_writes_its_own_run(tmp_path):
    done = train(tmp_path, *RUN, **dict.fromkeys([*LEFT, "LOCAL_RANK"], "1"), MASTER_ADDR="1.2.3.4")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/result.json").read_text())["steps"] == 5
    assert (tmp_path / "out/metrics.csv").is_file() and "mean IU" in done.stdout


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_torchrun_is_refused_with_advice(name, finished, no_ranks):
    given = RUN if name == "train" else ["checkpoint=out/checkpoints/last.ckpt"]
    before = contents(finished)
    for key, value in TORCHRUN.items():
        no_ranks.setenv(key, value)
    done = fcnexp(name, *given, folder=finished, cache=finished)
    assert done.returncode == 1 and done.stderr.startswith("error: torchrun with 2 processes")
    assert "type python -m fcnexp.train trainer.devices=2" in done.stderr
    assert done.stderr.count("\n") == 1 and contents(finished) == before


def test_rank_is_accepted_from_a_child_of_rank_0(no_ranks):
    this_process.announce_ranks()
    assert os.environ[this_process.RANKS_OF] == str(os.getpid())
    program = (
        "from fcnexp.system import this_process as process; import os; "
        "print(process.rank(), os.environ['NODE_RANK'])"
    )
    environment = os.environ | {"LOCAL_RANK": "1", "NODE_RANK": "0"}
    output = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True)
    assert output == "1 0\n"


def test_rank_without_its_rank_0_is_refused(no_ranks):
    no_ranks.setenv(this_process.RANKS_OF, str(os.getpid()))
    no_ranks.setenv("LOCAL_RANK", "1")
    with pytest.raises(ConfigError, match=f"type unset LOCAL_RANK {this_process.RANKS_OF}"):
        this_process.rank()


@pytest.mark.parametrize(
    "first", [None, str(os.getpid()), str(os.getppid())], ids=["nobody", "itself", "its parent"]
)
def test_rank_0_removes_leftover_variables(first, no_ranks):
    for name in LEFT:
        no_ranks.setenv(name, "1")
    no_ranks.setenv("LOCAL_RANK", "0" if first else "3")
    if first:
        no_ranks.setenv(this_process.RANKS_OF, first)
    no_ranks.setenv("SLURM_PROCID", "1")  # for example a notebook in a Slurm job
    no_ranks.setenv(this_process.TORCHRUN, "one")  # WORLD_SIZE=1
    assert this_process.rank() == 0
    assert not {this_process.RANKS_OF, *this_process.OF_RANKS} & set(os.environ)
