"""Run folders with any name, and ledgers and caches that others damage meanwhile."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import TINY, fcnexp
from made_up_jobs import seeds, sweep

NAMES = {
    "spaces": "my run  2",
    "apostrophe": "it's",
    "quotes": 'the "best"',
    "brackets": "a[1]{2}(3)",
    "equals": "lr=0.1",
    "commas": "a,b,c",
    "dollar": "$HOME",
    "percent": "%d%(x)s",
    "hash": "a#b",
    "other scripts": "größe 路",
    "hidden": ".run",
    "dash": "-run",
    "star": "a*b?",
    "backslash": "a\\b",
    "semicolon": "a;b&c|d",
    "long": "x" * 200,
}
QUICK = [*TINY, "regime.steps=1", "regime.score_every=1", "logger=csv", "trainer=cpu", "pictures=0"]


def train(folder: Path, name: str):
    return fcnexp("train", *QUICK, f"hydra.run.dir={name}", folder=folder, cache=folder / "cache")


def finishes_and_is_known(folder: Path, name: str) -> None:
    """Train in a folder with this name; typed again, the command finds the finished run."""
    done = train(folder, name)
    assert done.returncode == 0, done.stderr
    assert (folder / name / "result.json").is_file()
    assert {path.name for path in folder.iterdir()} <= {"cache", name}  # and nowhere else
    assert "done before" in train(folder, name).stdout


@pytest.mark.parametrize("name", [NAMES["quotes"], NAMES["brackets"]], ids=["quotes", "brackets"])
def test_run_folder_may_have_this_name(name, tmp_path):
    finishes_and_is_known(tmp_path, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_run_folder_may_have_any_name(name, tmp_path):
    finishes_and_is_known(tmp_path, name)


def test_run_folder_may_be_a_link_to_another_disk(tmp_path):
    disk = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else tmp_path / "disk"
    place = disk / f"fcnexp-{os.getpid()}"
    place.mkdir(parents=True)
    try:
        (tmp_path / "runs").symlink_to(place)
        assert train(tmp_path, "runs/first").returncode == 0
        assert (place / "first/result.json").is_file()
        assert "done before" in train(tmp_path, str(place / "first")).stdout
    finally:
        shutil.rmtree(place)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\0" * 100], ids=["empty", "cut", "list", "0"]
)
def test_job_with_a_damaged_record_is_run_again_and_the_others_are_not(content, tmp_path):
    assert sweep("seed=0,1,2", folder=tmp_path).returncode == 0
    (file,) = (tmp_path / "out").glob("*_seed1_*/job.json")
    file.write_bytes(content)
    again = sweep("seed=0,1,2", folder=tmp_path)
    assert again.returncode == 0 and "Traceback" not in again.stderr
    assert "3 done" in again.stdout and set(seeds(tmp_path)) <= {1}


def test_job_whose_folder_was_removed_is_run_again(tmp_path):
    assert sweep("seed=0,1", folder=tmp_path).returncode == 0
    (gone,) = (tmp_path / "out").glob("*_seed1_*")
    shutil.rmtree(gone)
    again = sweep("seed=0,1", folder=tmp_path)
    assert again.returncode == 0 and seeds(tmp_path) == [1]


@pytest.mark.parametrize("content", [b"", b"[" * 1000], ids=["empty", "nested"])
def test_damaged_launches_do_not_stop_a_sweep(content, tmp_path):
    assert sweep("seed=0,1", folder=tmp_path).returncode == 0
    for file in (tmp_path / "out/launches").iterdir():
        file.write_bytes(content)
    again = sweep("seed=0,1", folder=tmp_path)
    assert again.returncode == 0 and not seeds(tmp_path) and "Traceback" not in again.stderr


MAKE = """
from fcnexp.build import part
from fcnexp.config.compose import compose_run
data = part(compose_run(["data=shapes", "data.num_train=40", "data.num_val=4"]), "data")
print(sum(int(data.train(("rgb",))[at].fields["rgb"].sum()) for at in range(40)))
"""


@pytest.mark.slow
def test_processes_that_make_the_same_cache_at_once_read_the_same_images(tmp_path):
    environment = os.environ | {"FCNEXP_CACHE": str(tmp_path / "cache")}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    sums = [process.communicate(timeout=200)[0] for process in started]
    assert all(process.returncode == 0 for process in started)
    assert len(set(sums)) == 1 and int(sums[0]) > 0
    left = [path.name for path in (tmp_path / "cache").iterdir()]
    assert len([name for name in left if name.startswith("shapes-")]) == len(left) == 1


def test_number_of_odd_places(tell):
    tell(f"odd places: {len(NAMES) + 9}, each found again or run again")
