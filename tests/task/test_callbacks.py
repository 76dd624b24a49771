"""Lines that a training prints."""

import logging
import sys
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from fcnexp.cli.console import Console
from fcnexp.task import callbacks
from fcnexp.task.callbacks import Bar, ScoreLines


@pytest.fixture
def clock(monkeypatch):
    """The time that the callback reads, in a list of one."""
    now = [100.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    return now


def trainer_at(step: int, bar: object = None) -> SimpleNamespace:
    """Return a trainer after some of 1000 steps, with what the callback reads."""
    return SimpleNamespace(
        global_step=step,
        max_steps=1000,
        progress_bar_callback=bar,
        callback_metrics={"train/loss": torch.tensor(0.5)},
    )


def lines_of(passes: list[tuple[float, int]], clock: list[float], caplog, bar=None) -> list[str]:
    """Return the lines of passes that end at these times, after this many steps."""
    caplog.set_level("INFO")
    lines = ScoreLines()
    lines.on_train_start(trainer_at(passes[0][1]), None)
    for seconds, step in passes[1:]:
        clock[0] = 100 + seconds
        lines.on_train_batch_end(trainer_at(step, bar), None, None, None, 0)
    return caplog.messages


def test_a_log_shows_that_a_training_advances(clock, caplog):
    """After the first step, then when 30 s have passed; the last step has a line of its own."""
    passes = [(0, 0), (2, 1), (4, 2), (31.9, 16), (32, 17), (61, 30), (62, 31), (500, 1000)]
    assert lines_of(passes, clock, caplog) == [
        "step 1 of 1000: loss 0.500",
        "step 17 of 1000: loss 0.500, 0.53 steps/s, 31 min left",
        "step 31 of 1000: loss 0.500, 0.50 steps/s, 32 min left",
    ]


def test_a_resumed_training_counts_its_own_steps(clock, caplog):
    passes = [(0, 600), (10, 601), (50, 620)]
    assert lines_of(passes, clock, caplog) == [
        "step 601 of 1000: loss 0.500",
        "step 620 of 1000: loss 0.500, 0.40 steps/s, 16 min left",
    ]


def test_passes_of_an_unfinished_step_print_nothing(clock, caplog):
    assert lines_of([(0, 0), (50, 0), (100, 0), (150, 1)], clock, caplog) == [
        "step 1 of 1000: loss 0.500"
    ]


def test_a_progress_bar_needs_no_lines(clock, caplog):
    assert lines_of([(0, 0), (2, 1), (90, 40)], clock, caplog, bar=object()) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (7.4, "7 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3569, "59 min"),
        (3571, "1 h 00 min"),
        (9e4, "25 h 00 min"),
    ],
)
def test_durations(seconds, text):
    assert callbacks._duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.1234, "0.123"), (12.346, "12.35"), (999.96, "1000."), (12345.6, "12346")),
        *((1.4e5, "1e+05"), (5.6, "5.60"), (56.78, "56.8"), (100, "100.")),
    ],
)
def test_a_number_of_the_bar_always_takes_as_many_characters(value, text):
    assert callbacks.fixed(value, len(text)) == text


def drawn(step: int, total: int, metrics: dict, seconds: float) -> str:
    """Return a line of the bar after some steps of a training, 80 columns wide."""
    bar = Bar()
    postfix = ", ".join(
        f"{name}={value}"
        for name, value in bar.get_metrics(SimpleNamespace(callback_metrics=metrics), None).items()
    )
    return Tqdm.format_meter(
        *(step, total, seconds), ncols=80, bar_format=Bar.TRAINING, postfix=postfix
    )


@pytest.mark.parametrize("total", [400, 194600])
def test_the_bar_keeps_its_width(total):
    """Whatever its numbers are, it begins and ends at the same columns."""
    metrics = [{}, {"train/loss": 2.1}, {"train/loss": 31234.4, "val/miou": 0.056}]
    lines = [drawn(0, total, metrics[0], 0), drawn(1, total, metrics[1], 0.2)]
    lines += [
        drawn(total // 3, total, metrics[2], total / 9),
        drawn(total, total, metrics[2], 7200),
    ]
    assert {len(line) for line in lines} == {80}
    ends = {tuple(i for i, sign in enumerate(line) if sign == "|") for line in lines}
    assert len(ends) == 1
    ((first, last),) = ends
    assert last - first > 12
    assert lines[2].endswith("it/s, loss=31234, mean IU=5.60")


def test_messages_appear_above_the_bar_and_in_the_log_file(capfd):
    """The bar on the terminal is cleared before a message and drawn again below it."""
    console = Console(sys.stdout)
    with Tqdm(total=3, file=sys.stderr, bar_format="{n_fmt} of {total_fmt}") as bar:
        bar.update()
        console.emit(logging.makeLogRecord({"msg": "step 1"}))
    out, err = capfd.readouterr()
    assert out == "step 1\n"
    assert err.count("1 of 3") == 2  # drawn, cleared, drawn again
