"""Records and locks of jobs."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from made_up_runs import write_run

from fcnexp.run import locks
from fcnexp.run.locks import FolderError
from fcnexp.sweep import job, ledger


def finished(folder, **changes):
    write_run(folder, **changes)
    with locks.claim(folder):
        ledger.end(folder, ledger.begin(folder, "d1", 0, ["seed=0"]))
    return folder


HOLD = """
import os, sys, time
from pathlib import Path
from fcnexp.run import locks
from fcnexp.sweep import job, ledger
with locks.claim(Path(sys.argv[1])) as mine:
    if mine:
        ledger.begin(Path(sys.argv[1]), "d1", 0, ["seed=0"])
    if os.fork() == 0:  # like data-loading workers, which outlive a killed parent
        print(mine, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(tmp_path):
    """Return a job's folder, and the process that holds it and has forked a child."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "job")],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "True\n"
    yield tmp_path / "job", process
    os.killpg(process.pid, signal.SIGKILL)  # also ends the forked child
    process.wait()


def test_job_of_a_live_process_stays_locked(held):
    folder, _ = held
    assert locks.is_held(folder) and ledger.state_of(folder) == "running"
    with locks.claim(folder) as mine:
        assert not mine
    assert not ledger.remove(folder) and folder.is_dir()


def test_job_of_a_killed_process_is_stale_even_if_its_child_lives(held):
    folder, process = held
    process.kill()
    process.wait()
    assert ledger.state_of(folder) == "stale"
    with locks.claim(folder) as mine:
        assert mine and locks.is_held(folder)
    assert not locks.is_held(folder)


def test_short_inspection_does_not_block_a_worker(tmp_path):
    locked, release = threading.Event(), threading.Event()

    def inspect():
        with locks.claim(tmp_path):
            locked.set()
            release.wait()

    inspecting = threading.Thread(target=inspect)
    inspecting.start()
    locked.wait()
    threading.Timer(locks.PATIENCE / 4, release.set).start()
    with locks.claim(tmp_path) as mine:
        assert mine
    inspecting.join()


def test_record_holds_the_last_attempt(tmp_path):
    first = ledger.begin(tmp_path, "d1", 5, ["seed=0"])
    ledger.end(tmp_path, first, {"type": "OSError", "message": "no space", "traceback": "..."})
    assert ledger.state_of(tmp_path) == "failed"
    ledger.end(tmp_path, ledger.begin(tmp_path, "d1", 5, ["seed=0"]))
    stored = json.loads((tmp_path / "job.json").read_text())
    expected = {
        "digest": "d1",
        "state": "done",
        "overrides": ["seed=0"],
        "attempts": 2,
        "number": 5,
    }
    assert expected.items() <= stored.items() and stored["error"] is None
    assert stored["pid"] == os.getpid() and stored["seconds"] >= 0 and stored["ended"]


def test_done_requires_a_complete_result(tmp_path):
    folder = finished(tmp_path / "job", miou=0.25)
    assert ledger.state_of(folder) == "done"
    assert ledger.result_of(folder, "d1")["scores"]["miou"] == 0.25
    whole = (folder / "result.json").read_text()
    for damaged in (whole[: len(whole) // 2], "{}", None):
        (folder / "result.json").write_text(damaged or "")
        assert ledger.state_of(folder) == "stale" and ledger.result_of(folder) is None


def test_truncated_record_is_stale(tmp_path):
    folder = finished(tmp_path / "job")
    text = (folder / "job.json").read_text()
    (folder / "job.json").write_text(text[: len(text) // 2])
    assert ledger.read(folder) is None and ledger.state_of(folder) == "stale"
    assert ledger.result_of(folder, "d1") is None


def test_folder_of_another_job_is_refused(tmp_path):
    folder = finished(tmp_path / "job")
    with pytest.raises(FolderError, match=r"holds another job \(seed=0\); do not set hydra"):
        ledger.result_of(folder, "d2")


def test_folder_that_cannot_be_locked_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(FolderError, match="file/job: cannot be locked .* choose a writable folder"),
        locks.claim(tmp_path / "file/job"),
    ):
        pass


def test_only_failed_and_stale_jobs_are_removed(tmp_path):
    done = finished(tmp_path / "done")
    stale, failed = tmp_path / "stale", tmp_path / "failed"
    for folder in (stale, failed):
        folder.mkdir()
        record = ledger.begin(folder, "d1", 0, [])
    ledger.end(failed, record, {"type": "", "message": "", "traceback": None})
    assert list(ledger.job_folders(tmp_path)) == [done, failed, stale]
    assert [ledger.remove(folder) for folder in (done, stale, failed)] == [False, True, True]
    assert list(ledger.job_folders(tmp_path)) == [done]


def test_job_being_started_is_not_removed(tmp_path):
    ledger.end(tmp_path, ledger.begin(tmp_path, "d1", 0, []), {"type": "", "message": ""})
    with locks.claim(tmp_path, locks.START) as mine:
        assert mine and not ledger.remove(tmp_path)
    assert ledger.remove(tmp_path)


@pytest.mark.parametrize(
    ("pid", "stopped", "state", "kind"),
    [
        (None, False, "failed", "X"),
        (None, True, "stopped", "X"),  # Slurm's reason counts, but the checkpoints are good
        ("ours", False, "failed", "own"),
        ("ours", True, "stopped", "own"),
        (1, True, "failed", "X"),  # another process recorded it, earlier
    ],
)
def test_failure_recorded_by_the_job_itself_is_kept(tmp_path, pid, stopped, state, kind):
    lost = job.Job(0, [], tmp_path, "d1")
    own, cause = ({"type": name, "message": "", "traceback": None} for name in ("own", "X"))
    ledger.end(tmp_path, ledger.begin(tmp_path, "d1", 0, []), own, stopped=stopped)
    ending, failure = job.record_death(lost, cause, os.getpid() if pid == "ours" else pid)
    assert ending.outcome == ledger.state_of(tmp_path) == state and failure["type"] == kind


def test_job_that_finished_before_its_process_died_is_done(tmp_path):
    done = job.Job(0, [], finished(tmp_path / "job", miou=0.25), "d1")
    ending, failure = job.record_death(done, {"type": "X", "message": ""}, os.getpid())
    assert ending == job.Ending("now", 0.25) and failure is None
    assert ledger.state_of(done.folder) == "done"
