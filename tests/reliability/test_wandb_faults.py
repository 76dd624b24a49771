"""A failing W&B server does not change a training's record, and costs almost no time.

Times are printed, never asserted: the machine may be busy. The waits at the start and the end are
not part of the training; `logger.wandb.wait` bounds each.
"""

import csv
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest
import wandb
from commands import TINY, fcnexp
from wandb_file import read
from wandb_server import Server, unused_address

from fcnexp import train as training
from fcnexp.tracking import run as tracking

WAIT = 3  # seconds
STEPS, EVERY = 300, 150  # regime=quick has 1000, 250
TRAIN = [
    *(*TINY, "trainer=cpu", f"regime.steps={STEPS}", f"regime.score_every={EVERY}"),
    *("data.side=[120,140]", "regime.batch_size=4", "hydra.run.dir=out"),
]
ONLINE = ["logger=wandb_online", f"logger.wandb.wait={WAIT}", "logger.images=2"]
ROUNDS = 3  # alternating with and without W&B
MOODS = ["absent", "slow", "slow once the run has begun", "500", "401"]


class Took(NamedTuple):
    """Seconds. training: total. logging: part of it in W&B calls. begin, end: the waits."""

    training: float
    logging: float
    begin: float
    end: float


class Clock:
    """Measures the time spent in functions of fcnexp."""

    def __init__(self, monkeypatch) -> None:
        self.seconds = dict.fromkeys(("fit", "log", "begin", "end"), 0.0)
        self.fitting, self.when_begun = False, lambda: None
        fit = training.fit_and_score
        monkeypatch.setattr(training, "fit_and_score", self.around(fit, "fit"))
        monkeypatch.setattr(tracking, "_begin", self.around(tracking._begin, "begin"))
        log, finish = tracking.Tracked.log, tracking.Tracked.finish
        monkeypatch.setattr(tracking.Tracked, "log", self.around(log, "log"))
        monkeypatch.setattr(tracking.Tracked, "finish", self.around(finish, "end"))

    def around(self, function, name: str):
        def timed(*arguments, **named):
            start = time.perf_counter()
            counted = name != "log" or self.fitting
            self.fitting = self.fitting or name == "fit"
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[name] += (time.perf_counter() - start) * counted
                self.fitting = self.fitting and name != "fit"
                if name == "begin":
                    self.when_begun()

        return timed

    def took(self) -> Took:
        took = Took(*(self.seconds[name] for name in ("fit", "log", "begin", "end")))
        self.seconds = dict.fromkeys(self.seconds, 0.0)
        return took


def rows(folder: Path) -> list[dict[str, str]]:
    """Lines of metrics.csv, without values that depend on the machine's load."""
    with (folder / "metrics.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    return [{k: v for k, v in line.items() if not k.startswith("cost/")} for line in lines]


def record(folder: Path) -> dict[str, bytes]:
    """Files of a run that must be the same with any logger."""
    found = [folder / "confusion.csv", *sorted((folder / "pictures").rglob("*.png"))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.mark.slow
@pytest.mark.parametrize("mood", MOODS)
def test_failing_server_does_not_affect_the_training(mood, tmp_path, monkeypatch, tell):
    wandb.teardown()
    server = Server("works" if mood.startswith("slow once") else mood.replace("absent", "500"))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no .netrc
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", unused_address() if mood == "absent" else server.url)
    clock = Clock(monkeypatch)
    if mood.startswith("slow once"):
        clock.when_begun = lambda: setattr(server, "mood", "slow")
    took: dict[str, list[Took]] = {"csv": [], "wandb": []}
    try:
        for number in range(ROUNDS):
            for name, logger in (("csv", ["logger=csv"]), ("wandb", ONLINE)):
                folder = tmp_path / f"{name}{number}"
                folder.mkdir()
                if mood.startswith("slow once"):
                    server.mood = "works"
                done = fcnexp("train", *TRAIN, *logger, folder=folder, cache=tmp_path / "cache")
                assert done.returncode == 0, done.stderr
                took[name].append(clock.took())
    finally:
        tracking._forget()  # its process may still be waiting for the server
        server.close()
    compare(tmp_path, to_its_end=not mood.startswith("slow once"))
    tell(describe(mood, took))


def compare(folder: Path, *, to_its_end: bool) -> None:
    """Check that the local record and W&B's file, which `wandb sync` sends, are complete.

    to_its_end: W&B's process writes the last lines after those it could not send yet; if it is
    ended before, its file lacks the tables of the result.
    """
    for number in range(ROUNDS):
        plain, out = folder / f"csv{number}/out", folder / f"wandb{number}/out"
        assert rows(out) == rows(plain) and len(rows(out)) >= STEPS // 10 + STEPS // EVERY
        assert record(out) == record(plain) and (out / "result.json").is_file()
        assert (out / "config.yaml").is_file()
        files = [read(file) for file in out.rglob("*.wandb")]  # also of a failed attempt
        (kept,) = [file for file in files if file.history]
        scored = [line["val/miou"] for line in kept.history if "val/miou" in line]
        assert len(scored) == STEPS // EVERY
        assert len([line for line in kept.history if "train/loss" in line]) == STEPS // 10
        assert not to_its_end or ("val/classes" in kept.keys and kept.exit_code == 0)


def describe(mood: str, took: dict[str, list[Took]]) -> str:
    plain, online = (median(each.training for each in took[name]) for name in ("csv", "wandb"))
    inside = max(each.logging / each.training for each in took["wandb"])
    begin, end = (max(getattr(each, name) for each in took["wandb"]) for name in ("begin", "end"))
    return (
        f"W&B {mood}: training {online:.1f} s, {plain:.1f} s without ({online / plain - 1:+.1%}, "
        f"medians of {ROUNDS}); within it {inside:.2%} in calls of W&B; wait at the beginning "
        f"{begin:.1f} s, at the end {end:.1f} s (logger.wandb.wait={WAIT})"
    )
