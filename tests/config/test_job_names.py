"""Folders of sweeps that no file names."""

import pytest
from commands import call
from joblib.externals.loky import get_reusable_executor
from made_up_jobs import task

from fcnexp.config import job_names
from fcnexp.sweep import command


def folders(tmp_path, *typed):
    """Names of the sweeps' folders after one more command."""
    (tmp_path / "calls").touch()
    done = call(lambda: command.run(task), "-m", *typed, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    return sorted(path.name for path in (tmp_path / "outputs/sweep").iterdir())


def test_each_command_has_a_folder_of_its_own_in_which_are_all_of_its_jobs(tmp_path):
    (first,) = folders(tmp_path, "seed=0,1")
    assert first == f"jobs_{job_names.typed_digest(['seed=0,1'])}"
    both = folders(tmp_path, "seed=0,1", "model=fcn32s")
    assert len(both) == 2 and first in both
    assert folders(tmp_path, "model=fcn32s", "seed=0,1", "workers=0") == both  # done before
    assert len((tmp_path / "calls").read_text().splitlines()) == 4
    for name in both:
        assert len(list((tmp_path / "outputs/sweep" / name).glob("*/job.json"))) == 2
        assert (tmp_path / "outputs/sweep" / name / "report.html").is_file()


@pytest.mark.slow  # two processes that import torch
def test_jobs_of_other_processes_find_the_folder(tmp_path):
    (name,) = folders(tmp_path, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1")
    get_reusable_executor().shutdown()  # its processes know this launch, and would the next test's
    assert len(list((tmp_path / "outputs/sweep" / name).glob("*/job.json"))) == 2


def test_name_of_a_typed_sweep_is_of_what_counts():
    name = job_names.typed_digest(["seed=0,1", "model=fcn8s"])
    same = ["logger=csv", "pictures=0", "model=fcn8s", "+workers=3", "seed=0,1", "paper.table=2"]
    assert job_names.typed_digest(same) == name
    for other in (["seed=0,1"], ["seed=0,2", "model=fcn8s"], ["seed=0,1", "~model=fcn8s"]):
        assert job_names.typed_digest(other) != name
