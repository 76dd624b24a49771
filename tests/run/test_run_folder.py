"""Run folders: who may go on in them, from where, and how a training is ended."""

import os
import signal
import subprocess
import sys
from itertools import count

import pytest
import torch
from commands import TINY, fcnexp

from fcnexp.errors import ConfigError, OtherVersionError
from fcnexp.reporting import pictures
from fcnexp.run import run_folder
from fcnexp.sweep import job
from fcnexp.system import this_process
from fcnexp.task.losses import PixelLoss
from fcnexp.task.module import SegmentationTask

RUN = [*TINY, "logger=csv", "trainer=cpu", "regime.accumulate=2", "hydra.run.dir=out"]


def train(folder, *arguments: str):
    return fcnexp("train", *RUN, *arguments, folder=folder, cache=folder)


@pytest.fixture
def at_pass(monkeypatch):
    """Does something in one pass of a training, behind its forward and before its gradient."""
    original = SegmentationTask.training_step

    def plan(number: int, action) -> None:
        def step(self, batch, batch_idx):
            loss = original(self, batch, batch_idx)
            if batch_idx == number:
                return action(loss)
            return loss

        monkeypatch.setattr(SegmentationTask, "training_step", step)

    yield plan
    monkeypatch.setattr(SegmentationTask, "training_step", original)


def sent(*signals: int):
    def send(loss):
        for each in signals:
            os.kill(os.getpid(), each)
        return loss

    return send


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_in_the_middle_of_a_step_stops_behind_it(number, code, tmp_path, at_pass):
    at_pass(4, sent(number))  # the first of the third step's two
    done = train(tmp_path)
    assert done.returncode == code
    assert f"stopped by {signal.Signals(number).name} after step 3; the same com" in done.stdout
    assert torch.load(tmp_path / "out/checkpoints/last.ckpt")["global_step"] == 3
    at_pass(-1, sent())
    assert "continues after step 3" in train(tmp_path).stdout


def test_who_asks_twice_is_served_at_once(tmp_path, at_pass):
    at_pass(6, sent(signal.SIGTERM, signal.SIGTERM))
    assert train(tmp_path).returncode == 143
    assert torch.load(tmp_path / "out/checkpoints/last.ckpt")["global_step"] == 2


@pytest.mark.parametrize("value", [float("nan"), 1e9])
def test_loss_that_ends_a_training_names_step_images_and_what_is_left(value, tmp_path, monkeypatch):
    calls, forward = count(), PixelLoss.forward

    def end(self, scores, label):
        return forward(self, scores, label) * (value if next(calls) == 6 else 1)

    monkeypatch.setattr(PixelLoss, "forward", end)
    done = train(tmp_path)
    assert done.returncode == 1
    assert "at step 3, on train_000" in done.stderr and "lower regime.lr" in done.stderr
    assert "the last good checkpoint is " in done.stderr
    assert done.stderr.rstrip().endswith("out/checkpoints/last.ckpt, after step 2")


def test_damaged_checkpoint_leaves_the_one_before(tmp_path):
    assert train(tmp_path).returncode == 0
    last = tmp_path / "out/checkpoints/last.ckpt"
    (tmp_path / "out/result.json").unlink()
    last.write_bytes(last.read_bytes()[:-100])
    done = train(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "last.ckpt: damaged" in done.stdout and "from the one before it, prev" in done.stdout
    assert "continues after step 4" in done.stdout
    for name in ("last.ckpt", "previous.ckpt"):
        (tmp_path / "out/checkpoints" / name).write_bytes(b"PK")
    (tmp_path / "out/result.json").unlink()
    done = train(tmp_path)
    assert done.returncode == 1 and "to begin this training anew" in done.stderr


def test_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    with run_folder.held(tmp_path / "out"):
        for _ in range(2):  # the first must not take the lock away
            done = train(tmp_path)
            assert done.returncode == 1 and "another process is at work there" in done.stderr
            assert (tmp_path / "out/job.lock").exists()
    assert not (tmp_path / "out/config.yaml").exists()


@pytest.mark.parametrize("resume", ["true", "false", "auto", "maybe"])
def test_resume_says_what_may_be_there(resume, tmp_path):
    fresh = train(tmp_path, "regime.steps=0", f"resume={resume}")
    told = {"true": "there is no run in", "maybe": "allowed are auto, true, false"}
    assert told.get(resume, "") in fresh.stderr and fresh.returncode == (resume in told)
    assert (tmp_path / "out").exists() == (resume not in told)
    if resume not in told:
        again = train(tmp_path, "regime.steps=0", f"resume={resume}")
        assert again.returncode == (resume == "false")
        assert ("done before" in again.stdout) == (resume == "auto")


def test_best_scoring_is_told_and_kept(tmp_path):
    done = train(tmp_path, "keep_best=true", "regime.score_every=1")
    assert done.returncode == 0, done.stderr
    rows = [line.split(",") for line in (tmp_path / "out/metrics.csv").read_text().splitlines()]
    step, miou = rows[0].index("step"), rows[0].index("val/miou")
    scored = [(float(row[miou]), int(row[step]) + 1) for row in rows[1:] if row[miou]]
    best = max(score for score, _ in scored)
    first = min(step for score, step in scored if score == best)
    assert run_folder.finished(tmp_path / "out")["best"] == {
        "step": first,
        "miou": pytest.approx(best),
    }
    stored = torch.load(tmp_path / "out/checkpoints/best.ckpt")
    assert stored["global_step"] == first and "optimizer_states" not in stored


def test_other_processes_of_a_run_need_no_lock(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    with run_folder.held(tmp_path / "out"):
        with pytest.raises(ConfigError, match="at work there"), run_folder.held(tmp_path / "out"):
            pass
        monkeypatch.setattr(this_process, "rank", lambda: 1)
        with run_folder.held(tmp_path / "out"):
            pass


def test_slurms_signal_saves_and_has_the_job_queued_again(tmp_path, at_pass, monkeypatch):
    program = tmp_path / "bin/scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    at_pass(4, sent(signal.SIGUSR1))
    done = train(tmp_path)
    assert done.returncode == 128 + signal.SIGUSR1 and "after step 3" in done.stdout
    assert (tmp_path / "asked").read_text() == "requeue 12\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_behind_the_training_ends_it_as_any_program(number, code, tmp_path, monkeypatch):
    draw, before = pictures.draw_predictions, signal.getsignal(signal.SIGTERM)

    def stop(*arguments):
        assert signal.getsignal(signal.SIGTERM) == before
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a shell would call it that
        os.kill(os.getpid(), number)

    with monkeypatch.context() as patched:
        patched.setattr(pictures, "draw_predictions", stop)
        stopped = train(tmp_path)
    signal.signal(signal.SIGTERM, before)
    assert stopped.returncode == code and "Traceback" not in stopped.stderr
    assert pictures.draw_predictions is draw and not (tmp_path / "out/result.json").exists()
    assert train(tmp_path).returncode == 0


FULL_DISK = """
import errno
from fcnexp import checkpoint_files, train

def store(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")

checkpoint_files.store = store
train.main()
"""


def test_fault_does_not_wait_for_the_process_that_reads_images(tmp_path):
    """That is deaf to the SIGTERM of others, and is to hear its own process's."""
    command = [sys.executable, "-c", FULL_DISK, *RUN, "workers=1"]
    environment = os.environ | {"FCNEXP_CACHE": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "no space left on the disk" in done.stderr


@pytest.mark.parametrize("other", [True, False])
def test_checkpoints_that_a_sweep_cannot_use_are_kept(other, tmp_path):
    last = tmp_path / "checkpoints/last.ckpt"
    last.parent.mkdir()
    stored = {"fcnexp": {"version": 99}, "state_dict": {}}
    torch.save(stored, last)
    if other:
        with pytest.raises(OtherVersionError, match="checkpoint version 99"):
            job.prepare(tmp_path)
        assert last.is_file()
    else:
        last.write_bytes(last.read_bytes()[:100])
        job.prepare(tmp_path)
        assert (tmp_path / "checkpoints.damaged-1/last.ckpt").is_file()
