"""Launchers for clusters, without a cluster."""

import importlib
import sys

import pytest
from commands import TINY, fcnexp
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from fcnexp.config.compose import conf_dir

SLURM = ["-m", "hydra/launcher=slurm", "seed=0,1", "hydra.sweep.dir=out"]


@pytest.fixture
def no_srun(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))


def test_missing_slurm_is_reported(no_srun, tmp_path):
    done = fcnexp("train", *SLURM, *TINY, "trainer=cpu", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1
    assert "no Slurm on this machine (no srun)" in done.stderr
    assert "hydra/launcher=subprocess" in done.stderr


def test_dry_run_needs_no_slurm(no_srun, tmp_path):
    done = fcnexp("train", *SLURM, "dry_run=true", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("config is fine") == 2
    assert not (tmp_path / "out").exists()


def test_slurm_job_requests_a_process_and_a_gpu_per_device():
    file = OmegaConf.load(conf_dir() / "hydra/launcher/slurm.yaml")
    launcher = OmegaConf.create({"hydra": {"launcher": file}, "trainer": {"devices": 3}}).hydra
    assert launcher.launcher.tasks_per_node == launcher.launcher.gpus_per_node == 3


@pytest.mark.parametrize(
    ("typed", "missing", "extra"),
    [
        ("hydra/launcher=slurm", "launcher/fcnexp_slurm_settings", "sweep"),
        ("hydra/launcher=joblib", "launcher/joblib", "sweep"),
    ],
)
def test_missing_extra_is_named(typed, missing, extra, tmp_path, monkeypatch):
    importlib.import_module("fcnexp.sweep.slurm")  # it stores the launcher's settings
    group, name = missing.split("/")
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"][group], f"{name}.yaml")
    done = fcnexp("train", "-m", typed, "seed=0,1", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1
    assert f"hydra/{missing.replace('/', '=')}: not installed" in done.stderr
    assert f"pip install -e '.[{extra}]'" in done.stderr


def test_search_without_optuna_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcnexp.search.search", None)  # as without optuna
    done = fcnexp(
        "train", "-m", "hydra/sweeper=search", "seed=0,1", folder=tmp_path, cache=tmp_path
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "hydra/sweeper=search: not installed (" in done.stderr
    assert "; pip install -e '.[optuna]'" in done.stderr
