"""Jobs submitted to Slurm and left there, with a made-up squeue."""

import json
from pathlib import Path

import pytest

from fcnexp.errors import DataError
from fcnexp.sweep import __main__ as command
from fcnexp.sweep import ledger, queued


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
