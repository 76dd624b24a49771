"""Jobs submitted to Slurm and left there, with a made-up squeue."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from omegaconf import OmegaConf

from fcnexp.errors import ConfigError, DataError
from fcnexp.run import locks
from fcnexp.sweep import __main__ as command
from fcnexp.sweep import ledger, queued, slurm
from fcnexp.sweep.job import Job


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a squeue on PATH that prints a file."""
    answer, tools = tmp_path / "answer", tmp_path / "tools"
    answer.write_text("7_1\n")
    tools.mkdir()
    (tools / "squeue").write_text(f"#!/bin/sh\n/bin/cat '{answer}'\n")
    (tools / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    return answer


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Sweep of three submitted jobs: a failed, b and c never began."""
    folder = tmp_path / "sweep"
    (folder / "a").mkdir(parents=True)
    record = ledger.begin(folder / "a", "d", 0, ["seed=0"])
    ledger.end(folder / "a", record, {"type": "E", "message": "m", "traceback": None})
    queued.add(folder, {folder / name: f"7_{place}" for place, name in enumerate("abc")})
    return folder


def test_status_tells_queued_from_cancelled_and_failed(squeue, sweep, capsys):
    assert command.status(sweep) == 1
    assert "3 jobs: 1 failed, 1 queued, 1 cancelled" in capsys.readouterr().out


def test_requeued_job_counts_as_queued(squeue, sweep):
    squeue.write_text("7_0\n")
    there = queued.in_slurm(sweep)
    assert there == {sweep / "a": "7_0"}
    assert queued.state_of(sweep / "a", queued.read(sweep), there) == "queued"


def test_without_squeue_nothing_is_called_cancelled(sweep, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert queued.in_slurm(sweep) is None
    assert command.status(sweep) == 1
    out = capsys.readouterr().out
    assert "1 failed, 2 queued" in out and "squeue does not answer" in out


def test_second_submission_replaces_the_number(sweep):
    queued.add(sweep, {sweep / "a": "9"})
    assert [number for _, number in sorted(queued.read(sweep).items())] == ["9", "7_1", "7_2"]


def test_entries_outside_the_sweep_or_without_a_number_are_left_out(sweep):
    entries = {"../x": "7_0", "/etc": "7_1", ".": "7", "a": "7;id", "b": "8"}
    (sweep / queued.FILE).write_text(json.dumps(entries))
    assert queued.read(sweep) == {sweep / "b": "8"}


def test_damaged_file_is_named(sweep):
    (sweep / queued.FILE).write_text("{")
    with pytest.raises(DataError, match=r"queued\.json: damaged"):
        queued.read(sweep)


def test_silent_squeue_is_not_waited_for(squeue, sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(queued, "SECONDS", 0.2)
    (tmp_path / "tools/squeue").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    assert queued.in_slurm(sweep) is None


class Submitted(NamedTuple):
    job_id: str


@pytest.fixture
def leave(squeue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return what a launcher that leaves does with jobs, and the jobs that reached Slurm."""
    launcher = slurm.SlurmLauncher.__new__(slurm.SlurmLauncher)
    launcher.config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path / "sweep")}}})
    sent: list[Path] = []

    def submit(jobs):
        sent.extend(job.folder for job in jobs)
        return [Submitted(f"9_{place}") for place in range(len(jobs))]

    monkeypatch.setattr(launcher, "_submit", submit)
    return launcher._leave, sent


def jobs_of(sweep: Path, names: str) -> list[Job]:
    return [Job(number, [], sweep / name, f"d{name}") for number, name in enumerate(names)]


def test_jobs_that_wait_or_run_are_not_submitted_again(leave, sweep, capsys):
    act, sent = leave
    (sweep / "c").mkdir()
    with locks.claim(sweep / "c"):
        act(jobs_of(sweep, "abcdd"))  # Slurm holds b, c runs, the two d are one job
    assert sent == [sweep / "a", sweep / "d"]
    assert "2 jobs queued in Slurm, 2 queued or running before" in capsys.readouterr().out
    assert queued.read(sweep)[sweep / "d"] == "9_1"


def test_second_command_does_not_submit_meanwhile(leave, sweep):
    act, sent = leave
    with locks.claim(sweep, queued.LOCK), pytest.raises(ConfigError, match="another command"):
        act(jobs_of(sweep, "ad"))
    assert not sent


def test_nothing_is_submitted_if_squeue_does_not_answer(leave, sweep, monkeypatch):
    monkeypatch.setenv("PATH", "")
    act, sent = leave
    with pytest.raises(ConfigError, match="squeue does not say"):
        act(jobs_of(sweep, "ad"))
    assert not sent
