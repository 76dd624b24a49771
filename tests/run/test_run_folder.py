"""Run folders: locks, the checkpoint to resume from, and trainings stopped by signals."""

import os
import signal
import subprocess
import sys
import time
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
    """Run an action in one pass of a training, after its forward and before its backward pass."""
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


def sending(*signals: int):
    def send(loss):
        for each in signals:
            os.kill(os.getpid(), each)
        return loss

    return send


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_in_the_middle_of_a_step_stops_after_it(number, code, tmp_path, at_pass):
    at_pass(4, sending(number))  # the first of the third step's two passes
    done = train(tmp_path)
    assert done.returncode == code
    assert f"stopped by {signal.Signals(number).name} after step 3; the same com" in done.stdout
    assert torch.load(tmp_path / "out/checkpoints/last.ckpt")["global_step"] == 3
    at_pass(-1, sending())
    assert "continues after step 3" in train(tmp_path).stdout


def test_second_signal_stops_immediately(tmp_path, at_pass):
    at_pass(6, sending(signal.SIGTERM, signal.SIGTERM))
    assert train(tmp_path).returncode == 143
    assert torch.load(tmp_path / "out/checkpoints/last.ckpt")["global_step"] == 2


@pytest.mark.parametrize("value", [float("nan"), 1e9])
def test_bad_loss_reports_step_images_and_last_checkpoint(value, tmp_path, monkeypatch):
    calls, forward = count(), PixelLoss.forward

    def spoilt(self, scores, label):
        return forward(self, scores, label) * (value if next(calls) == 6 else 1)

    monkeypatch.setattr(PixelLoss, "forward", spoilt)
    done = train(tmp_path)
    assert done.returncode == 1
    assert "at step 3, on train_000" in done.stderr and "lower regime.lr" in done.stderr
    assert "the last good checkpoint is " in done.stderr
    assert done.stderr.rstrip().endswith("out/checkpoints/last.ckpt, after step 2")


def test_damaged_checkpoint_is_replaced_by_the_one_before(tmp_path):
    assert train(tmp_path).returncode == 0
    last = tmp_path / "out/checkpoints/last.ckpt"
    (tmp_path / "out/result.json").unlink()
    last.write_bytes(last.read_bytes()[:-100])
    done = train(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "last.ckpt: damaged" in done.stdout and "the checkpoint before it, prev" in done.stdout
    assert "continues after step 4" in done.stdout
    for name in ("last.ckpt", "previous.ckpt"):
        (tmp_path / "out/checkpoints" / name).write_bytes(b"PK")
    (tmp_path / "out/result.json").unlink()
    done = train(tmp_path)
    assert done.returncode == 1 and "to start this training over" in done.stderr


def test_folder_in_use_is_refused_and_unchanged(tmp_path):
    (tmp_path / "out").mkdir()
    with run_folder.held(tmp_path / "out"):
        for _ in range(2):  # the first attempt must not remove the lock
            done = train(tmp_path)
            assert done.returncode == 1 and "another process is using this folder" in done.stderr
            assert (tmp_path / "out/job.lock").exists()
    assert not (tmp_path / "out/config.yaml").exists()


@pytest.mark.parametrize("resume", ["true", "false", "auto", "maybe"])
def test_resume_decides_if_a_folder_may_hold_a_run(resume, tmp_path):
    fresh = train(tmp_path, "regime.steps=1", "regime.score_every=1", f"resume={resume}")
    errors = {"true": "out holds no run", "maybe": "allowed are auto, true, false"}
    assert errors.get(resume, "") in fresh.stderr and fresh.returncode == (resume in errors)
    assert (tmp_path / "out").exists() == (resume not in errors)
    if resume not in errors:
        again = train(tmp_path, "regime.steps=1", "regime.score_every=1", f"resume={resume}")
        assert again.returncode == (resume == "false")
        assert ("done before" in again.stdout) == (resume == "auto")


def test_best_validation_is_recorded_and_its_weights_are_kept(tmp_path):
    done = train(tmp_path, "keep_best=true", "regime.score_every=1")
    assert done.returncode == 0, done.stderr
    rows = [line.split(",") for line in (tmp_path / "out/metrics.csv").read_text().splitlines()]
    step, miou = rows[0].index("step"), rows[0].index("val/miou")
    scored = [(float(row[miou]), int(row[step])) for row in rows[1:] if row[miou]]
    best = max(score for score, _ in scored)
    first = min(step for score, step in scored if score == best)
    assert run_folder.finished(tmp_path / "out")["best"] == {
        "step": first,
        "miou": pytest.approx(best),
    }
    stored = torch.load(tmp_path / "out/checkpoints/best.ckpt")
    assert stored["global_step"] == first and "optimizer_states" not in stored


def test_ranks_above_0_need_no_lock(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    with run_folder.held(tmp_path / "out"):
        with pytest.raises(ConfigError, match="is using"), run_folder.held(tmp_path / "out"):
            pass
        monkeypatch.setattr(this_process, "rank", lambda: 1)
        with run_folder.held(tmp_path / "out"):
            pass


def test_slurms_signal_saves_and_requeues_the_job(tmp_path, at_pass, monkeypatch):
    program = tmp_path / "bin/scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    at_pass(4, sending(signal.SIGUSR1))
    done = train(tmp_path)
    assert done.returncode == 128 + signal.SIGUSR1 and "after step 3" in done.stdout
    assert (tmp_path / "asked").read_text() == "requeue 12\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_after_the_training_ends_the_process(number, code, tmp_path, monkeypatch):
    draw, before = pictures.draw_predictions, signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

    def stop(*arguments):
        assert signal.getsignal(signal.SIGTERM) == before
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the exit code in a shell
        os.kill(os.getpid(), number)
        time.sleep(60)  # until the signal arrives, which takes a moment on a busy machine

    try:
        with monkeypatch.context() as patched:
            patched.setattr(pictures, "draw_predictions", stop)
            stopped = train(tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stopped.returncode == code and "Traceback" not in stopped.stderr
    assert pictures.draw_predictions is draw and not (tmp_path / "out/result.json").exists()
    assert train(tmp_path).returncode == 0


FULL_DISK = """
import errno
from fcnexp import train
from fcnexp.system import checkpoint_store

def store(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")

checkpoint_store.store = store
train.main()
"""


def test_system_error_does_not_wait_for_the_data_loader(tmp_path):
    """Its process ignores SIGTERM from others, but must react to that of its parent."""
    command = [sys.executable, "-c", FULL_DISK, *RUN, "workers=1"]
    environment = os.environ | {"FCNEXP_CACHE": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "no space left on the disk" in done.stderr


@pytest.mark.parametrize("other", [True, False])
def test_sweep_keeps_checkpoints_it_cannot_use(other, tmp_path):
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
