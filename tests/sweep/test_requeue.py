"""What a job of submitit does on the signal that its time is nearly up."""

import signal
from collections.abc import Iterator

import pytest

from fcnexp.sweep.requeue import SUBMITTED, stopping_between_steps

TIME_IS_UP = signal.SIGUSR2


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Who was told of a signal; the handlers are like submitit's, which SIGTERM does not end."""
    told: list[str] = []

    def requeue(*_: object) -> None:
        told.append("requeue")
        raise SystemExit(-1)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, TIME_IS_UP)}
    signal.signal(signal.SIGTERM, lambda *_: told.append("bypass"))
    signal.signal(TIME_IS_UP, requeue)
    yield told
    for number, handler in before.items():
        signal.signal(number, handler)


def test_training_ends_its_step_and_saves_before_the_job_is_requeued(told, monkeypatch):
    monkeypatch.setenv(SUBMITTED, "slurm")
    with pytest.raises(SystemExit) as end, stopping_between_steps():
        signal.signal(signal.SIGTERM, lambda *_: told.append("training"))  # as Lightning does
        signal.raise_signal(TIME_IS_UP)
        told.append("saved")
        raise SystemExit(143)
    assert told == ["training", "saved", "requeue"]
    assert end.value.code == -1


def test_between_trainings_it_is_requeued_at_once(told, monkeypatch):
    monkeypatch.setenv(SUBMITTED, "slurm")
    with pytest.raises(SystemExit), stopping_between_steps():
        try:
            signal.raise_signal(TIME_IS_UP)
        except SystemExit as end:
            told.append(f"exit {end.code}")  # the ledger writes down that it was stopped
            raise
    assert told == ["exit 143", "requeue"]


def test_job_that_is_done_in_time_is_not_requeued(told, monkeypatch):
    monkeypatch.setenv(SUBMITTED, "slurm")
    with stopping_between_steps():
        signal.signal(signal.SIGTERM, lambda *_: told.append("training"))
        signal.raise_signal(TIME_IS_UP)
    assert told == ["training"]


def test_exit_without_the_signal_is_an_exit(told, monkeypatch):
    monkeypatch.setenv(SUBMITTED, "slurm")
    with pytest.raises(SystemExit, match="3"), stopping_between_steps():
        raise SystemExit(3)
    assert told == []


def test_handlers_are_as_before_and_untouched_where_submitit_is_not(told, monkeypatch):
    handler = signal.getsignal(TIME_IS_UP)
    monkeypatch.delenv(SUBMITTED, raising=False)
    with stopping_between_steps():
        assert signal.getsignal(TIME_IS_UP) is handler
    monkeypatch.setenv(SUBMITTED, "local")
    with stopping_between_steps():
        assert signal.getsignal(TIME_IS_UP) is not handler
    assert signal.getsignal(TIME_IS_UP) is handler
