"""Missing data: reported once if no job has its data, otherwise by the job that lacks it."""

import shutil

import pytest
from fake_data import voc_tree
from made_up_jobs import records, seeds, sweep

GONE = ["data=voc", "data.root=gone"]


@pytest.mark.parametrize("launcher", ["in_process", "subprocess"])
def test_data_missing_for_all_jobs_is_reported_once_and_none_starts(launcher, tmp_path):
    done = sweep("seed=0,1,2", *GONE, f"hydra/launcher={launcher}", folder=tmp_path)
    assert done.returncode == 1 and not seeds(tmp_path)
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: data.root=gone: no such folder")
    assert line.endswith("(the same for all 3 jobs; none was started)")
    assert not (tmp_path / "out").exists()


def test_two_missing_data_sets_are_both_reported(tmp_path):
    done = sweep("data=voc,nyud", "data.root=gone", "seed=0,1", folder=tmp_path)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and line.count("no such folder") == 2 and not seeds(tmp_path)


@pytest.mark.parametrize("other", ["data.root=gone,voc", "data=voc,shapes"])
def test_all_jobs_start_if_one_has_its_data(other, tmp_path):
    voc_tree(tmp_path / "voc")
    done = sweep(*GONE[: 1 if "root" in other else 0], other, "seed=0", folder=tmp_path)
    assert seeds(tmp_path) == [0, 0] and done.returncode == 0, done.stderr  # the task reads no data


def test_other_mistakes_are_left_to_the_job(tmp_path):
    sweep("seed=0,1", *GONE, "modality.rgb.mean=3", folder=tmp_path)
    assert seeds(tmp_path) == [0, 1]


def test_finished_jobs_need_no_data(tmp_path):
    root = voc_tree(tmp_path / "voc")
    command = ["data=voc", "data.root=voc"]
    assert sweep("seed=0", *command, folder=tmp_path).returncode == 0
    shutil.rmtree(root)
    assert sweep("seed=0", *command, folder=tmp_path).returncode == 0
    done = sweep("seed=0,1,2", *command, folder=tmp_path)
    assert (
        done.returncode == 1 and "for all 2 jobs" in done.stderr and list(records(tmp_path)) == [0]
    )


def test_dry_run_looks_for_no_data(tmp_path):
    done = sweep("seed=0,1", *GONE, "dry_run=true", folder=tmp_path)
    assert done.returncode == 0 and seeds(tmp_path) == [0, 1]
