"""A W&B server that is unreachable, hangs or refuses causes a warning; the run continues."""

import json
import os
import signal
from pathlib import Path

import pytest
import wandb
from commands import TINY, fcnexp
from wandb_file import read, runs_below
from wandb_server import Server, unused_address

from fcnexp.tracking.run import STEP, Choice, tracked
from fcnexp.tracking.run_ids import Facts

FACTS = Facts("0123456789-abcd", "net", "sweep", "run", ["fcn8s"])
ONLINE = Choice("mine", None, "online", 1)


@pytest.fixture
def online(monkeypatch, tmp_path):
    """A function that points W&B at a URL; W&B reads the environment only once per process."""

    def use(url: str) -> None:
        wandb.teardown()
        monkeypatch.delenv("WANDB_MODE", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))  # no .netrc
        monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_SILENT", "true")

    yield use
    wandb.teardown()


@pytest.fixture
def server():
    servers = []

    def start(mood: str) -> Server:
        servers.append(Server(mood))
        return servers[-1]

    yield start
    for each in servers:
        each.close()


@pytest.mark.parametrize("mood", ["refused", "hangs", "500", "401", "403"])
def test_run_is_stored_locally_if_the_server_fails(mood, online, server, tmp_path, caplog):
    online(unused_address() if mood == "refused" else server(mood).url)
    with tracked(ONLINE, FACTS, {"seed": 3}, tmp_path) as run:
        run.log(lambda: {"val/miou": 0.5, STEP: 9})
    (kept,) = runs_below(tmp_path)
    assert kept.run.run_id == FACTS.id and kept.run.run_group == "sweep" and kept.exit_code == 0
    assert kept.config["seed"] == 3
    assert [line["val/miou"] for line in kept.history] == [0.5]
    (warning,) = [each.getMessage() for each in caplog.records if "W&B" in each.getMessage()]
    assert warning.startswith("W&B cannot be reached (CommError: ")
    assert warning.endswith(f"upload it with `wandb sync {kept.media.parent}`")


def test_file_is_complete_if_the_server_stops_responding(online, server, tmp_path, caplog):
    stub = server("works")
    online(stub.url)
    with tracked(ONLINE, FACTS, {}, tmp_path) as run:
        assert run.run.settings.mode == "online"
        stub.mood = "hangs"
        for step in range(30):
            run.log(lambda step=step: {"val/miou": step / 100, STEP: step})
    warning = caplog.records[-1].getMessage()
    assert warning == f"W&B upload did not finish in time; run `wandb sync {run.folder}`"
    wandb.teardown()  # returns when everything is written
    (file,) = run.folder.glob("*.wandb")
    assert [line[STEP] for line in read(file).history] == list(range(30))


def test_death_of_wandb_process_does_not_stop_the_run(tmp_path, caplog):
    wandb.teardown()
    choice = ONLINE._replace(mode="offline")
    with tracked(choice, FACTS, {}, tmp_path / "a") as run:
        os.kill(child("wandb-core"), signal.SIGKILL)
        while not run.lost:
            run.log(lambda: {"val/miou": 0.5})
        run.log(lambda: {"val/miou": 0.5})
    assert caplog.text.count("W&B stopped logging") == 1
    with tracked(choice, FACTS._replace(id="other"), {}, tmp_path / "b") as run:
        run.log(lambda: {"val/miou": 0.25})
    (kept,) = runs_below(tmp_path / "b")
    assert kept.run.run_id == "other" and kept.summary["val/miou"] == 0.25


def child(name: str) -> int:
    """Process id of the child process with this name."""
    for status in Path("/proc").glob("[0-9]*/status"):
        lines = status.read_text().splitlines()
        if f"PPid:\t{os.getpid()}" in lines and lines[0].endswith(name):
            return int(status.parent.name)
    raise AssertionError(name)


def test_pictures_that_cannot_be_written_are_dropped(tmp_path, caplog):
    def full_disk():
        raise OSError("No space left on device")

    with tracked(ONLINE._replace(mode="offline"), FACTS, {}, tmp_path) as run:
        run.log(full_disk)
        run.log(lambda: {"val/miou": 0.5})
    assert "W&B stopped logging (OSError: No space left on device)" in caplog.text
    assert runs_below(tmp_path)[0].summary["val/miou"] == 0.5


def test_training_finishes_without_the_server(online, server, tmp_path):
    online(server("500").url)
    command = [*TINY, "logger=wandb_online", "logger.wandb.wait=1", "hydra.run.dir=out"]
    done = fcnexp("train", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert "val/miou" in (tmp_path / "out/metrics.csv").read_text()
    (kept,) = runs_below(tmp_path / "out")
    assert kept.summary["val/miou"] == pytest.approx(result["scores"]["miou"])
    assert "val/classes" in kept.keys and kept.exit_code == 0


def test_missing_key_is_reported_before_training(online, server, tmp_path, monkeypatch):
    online(unused_address())
    monkeypatch.delenv("WANDB_API_KEY")
    command = [*TINY, "logger=wandb_online", "hydra.run.dir=out"]
    done = fcnexp("train", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and not (tmp_path / "out").exists()
    assert done.stderr == (
        "error: logger=wandb_online: no API key found; run `wandb login` once, or set "
        "WANDB_API_KEY; logger=wandb logs locally without one\n"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("logger.wandb.mode=on", "logger.wandb.mode=on: choose one of online, offline; logger=csv"),
        ("logger.wandb.wait=0", "logger.wandb.wait=0: must be seconds above 0"),
        ("logger.wandb.wait=nan", "logger.wandb.wait=nan: must be seconds above 0"),
        ("logger.wandb.checkpoint=all", "logger.wandb.checkpoint=all: choose null, last or best"),
        ("logger.wandb.checkpoint=best", "logger.wandb.checkpoint=best: add keep_best=true"),
        ("logger.images=-1", "logger.images=-1: must be 0 or more"),
        ("logger.side=0", "logger.side=0: must be 1 or more"),
        ("logger.wandb.projct=x", "logger.wandb.projct: no such key (did you mean"),
    ],
)
def test_mistake_names_its_key(override, message, tmp_path):
    done = fcnexp("train", *TINY, override, "dry_run=true", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and message in done.stderr


def test_exit_code_records_how_a_run_ended(tmp_path):
    for number, error in enumerate((ValueError(), SystemExit(143), KeyboardInterrupt())):
        folder = tmp_path / str(number)
        with (
            pytest.raises(type(error)),
            tracked(ONLINE._replace(mode="offline"), FACTS, {}, folder),
        ):
            raise error
    assert [run.exit_code for run in runs_below(tmp_path)] == [1, 143, 1]
