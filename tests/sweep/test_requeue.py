"""Submitit's jobs on the signal before their time limit."""

import signal
from collections.abc import Iterator

import pytest

from fcnexp.sweep.command import SUBMITTED, stopping_between_steps

TIME_IS_UP = signal.SIGUSR2


@pytest.fixture
def called() -> Iterator[list[str]]:
    """Record of the handlers called; they are like submitit's, which ignore SIGTERM."""
    called: list[str] = []

    def requeue(*_: object) -> None:
        called.append("requeue")
        raise SystemExit(-1)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, TIME_IS_UP)}
    signal.signal(signal.SIGTERM, lambda *_: called.append("bypass"))
    signal.signal(TIME_IS_UP, requeue)
    yield called
    for number, handler in before.items():
        signal.signal(number, handler)


def test_training_ends_its_step_and_saves_before_the_job_is_requeued(called, monkeypatch):
    monkeypatch.setenv(SUBMITTED, "slurm")
    with pytest.raises(SystemExit) as end, stopping_between_steps():
        signal.signal(signal.SIGTERM, lambda *_: called.append("training"))  # as Lightning does
        signal.raise_signal(TIME_IS_UP)
        called.append("saved")
        raise SystemExit(143)
    assert called == ["training", "saved", "requeue"]
    assert end.value.code == -1


def test_between_trainings_the_job_is_requeued_immediately(called, monkeypatch):
    monkeypatch.setenv(SUBMITTED, "slurm")
    with pytest.raises(SystemExit), stopping_between_steps():
        try:
            signal.raise_signal(TIME_IS_UP)
        except SystemExit as end:
            called.append(f"exit {end.code}")  # the ledger records the stop
            raise
    assert called == ["exit 143", "requeue"]


def test_job_that_finishes_in_time_is_not_requeued(called, monkeypatch):
    monkeypatch.setenv(SUBMITTED, "slurm")
    with stopping_between_steps():
        signal.signal(signal.SIGTERM, lambda *_: called.append("training"))
        signal.raise_signal(TIME_IS_UP)
    assert called == ["training"]


def test_exit_without_the_signal_is_unchanged(called, monkeypatch):
    monkeypatch.setenv(SUBMITTED, "slurm")
    with pytest.raises(SystemExit, match="3"), stopping_between_steps():
        raise SystemExit(3)
    assert called == []


def test_handlers_are_restored_and_unchanged_without_submitit(called, monkeypatch):
    handler = signal.getsignal(TIME_IS_UP)
    monkeypatch.delenv(SUBMITTED, raising=False)
    with stopping_between_steps():
        assert signal.getsignal(TIME_IS_UP) is handler
    monkeypatch.setenv(SUBMITTED, "local")
    with stopping_between_steps():
        assert signal.getsignal(TIME_IS_UP) is not handler
    assert signal.getsignal(TIME_IS_UP) is handler
