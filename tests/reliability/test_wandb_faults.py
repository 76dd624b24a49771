"""What a server of W&B that fails costs a training: its record nothing, its time next to nothing.

Times are told, never asserted: the machine may be busy. The wait at the beginning and at the end
is no part of the training; `logger.wandb.wait` bounds each.
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
ROUNDS = 3  # with W&B and without, in turn
MOODS = ["absent", "slow", "slow once the run has begun", "500", "401"]


class Took(NamedTuple):
    """Seconds. training: all of it. logging: of that, in calls of W&B. begin, end: the waits."""

    training: float
    logging: float
    begin: float
    end: float


class Clock:
    """Times functions of the product while they do their work."""

    def __init__(self, monkeypatch) -> None:
        self.seconds = dict.fromkeys(("fit", "log", "begin", "end"), 0.0)
        self.fitting, self.when_begun = False, lambda: None
        monkeypatch.setattr(training, "fit", self.around(training.fit, "fit"))
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
    """metrics.csv, but for what the machine's load decides."""
    with (folder / "metrics.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    return [{k: v for k, v in line.items() if not k.startswith("cost/")} for line in lines]


def record(folder: Path) -> dict[str, bytes]:
    """Files of a run that are to be the same with any logger."""
    found = [folder / "confusion.csv", *sorted((folder / "pictures").rglob("*.png"))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.mark.slow
@pytest.mark.parametrize("mood", MOODS)
def test_training_takes_no_notice_of_the_server(mood, tmp_path, monkeypatch, tell):
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
        tracking._forget()  # its process may be busy with the server still
        server.close()
    compare(tmp_path, to_its_end=not mood.startswith("slow once"))
    tell(in_words(mood, took))


def compare(folder: Path, *, to_its_end: bool) -> None:
    """The local record is whole, and so is W&B's file, which `wandb sync` sends.

    to_its_end: W&B's own process writes what was logged last behind what it could not send yet;
    where it is ended over that, its file lacks the tables of the result.
    """
    for number in range(ROUNDS):
        plain, out = folder / f"csv{number}/out", folder / f"wandb{number}/out"
        assert rows(out) == rows(plain) and len(rows(out)) >= STEPS // 10 + STEPS // EVERY
        assert record(out) == record(plain) and (out / "result.json").is_file()
        assert (out / "config.yaml").is_file()
        files = [read(file) for file in out.rglob("*.wandb")]  # also of an attempt in vain
        (kept,) = [file for file in files if file.history]
        scored = [line["val/miou"] for line in kept.history if "val/miou" in line]
        assert len(scored) == STEPS // EVERY
        assert len([line for line in kept.history if "train/loss" in line]) == STEPS // 10
        assert not to_its_end or ("val/classes" in kept.keys and kept.exit_code == 0)


def in_words(mood: str, took: dict[str, list[Took]]) -> str:
    plain, online = (median(each.training for each in took[name]) for name in ("csv", "wandb"))
    inside = max(each.logging / each.training for each in took["wandb"])
    begin, end = (max(getattr(each, name) for each in took["wandb"]) for name in ("begin", "end"))
    return (
        f"W&B {mood}: training {online:.1f} s, {plain:.1f} s without ({online / plain - 1:+.1%}, "
        f"medians of {ROUNDS}); within it {inside:.2%} in calls of W&B; wait at the beginning "
        f"{begin:.1f} s, at the end {end:.1f} s (logger.wandb.wait={WAIT})"
    )
