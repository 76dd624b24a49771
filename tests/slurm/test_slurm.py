"""Sweeps on a real Slurm; interrupted jobs resume and end with identical numbers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import slurm_here
import torch
from commands import TINY

pytestmark = pytest.mark.slurm

HERE = Path(__file__).resolve().parent
COMMAND = [*TINY, "regime.steps=6", "pictures=0", "logger=csv", "trainer=cpu"]
COMMAND += ["regime.loss._target_=waiting.WaitingLoss", "+regime.loss.seed='${seed}'"]
SLURM = [
    *("hydra/launcher=slurm", "hydra.launcher.gpus_per_node=null"),
    *("hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment for Slurm's commands, and for the modules of its jobs."""
    if reason := slurm_here.missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm") / "here"
    env = slurm_here.start(folder)
    src = str(Path(__import__("fcnexp").__file__).parents[1])
    env |= {"PYTHONPATH": f"{src}:{HERE}", "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
    env |= {"FCNEXP_CACHE": str(folder / "cache"), "WAIT_STEP": "3"}
    yield env
    slurm_here.stop(folder)


class Sweep:
    """A sweep's command in a separate folder; the run with seed 0 waits in step 3."""

    def __init__(self, folder: Path, slurm: dict[str, str], *arguments: str) -> None:
        self.folder, self.gate = folder, folder / "gate"
        self.gate.mkdir(exist_ok=True)
        self.env = slurm | {"WAIT_FOLDER": str(self.gate), "WAIT_SEED": "0"}
        command = [sys.executable, "-m", "fcnexp.train", "-m", *COMMAND, *arguments]
        self.log = folder / f"launch{len(list(folder.glob('launch*')))}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=self.env, stdout=log, stderr=subprocess.STDOUT
            )

    def wait_until(self, there: Callable[[], bool], seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while not there():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def slurm_job(self, place: int) -> str:
        """Slurm's number of a job, by its place in the array, if any."""
        numbers = slurm_here.says(self.env, "squeue", "--noheader", "--array", "--format=%i")
        return next(n for n in numbers.split() if "_" not in n or n.endswith(f"_{place}"))

    def ends(self) -> int:
        return self.process.wait(timeout=300)


@pytest.fixture(scope="module")
def uninterrupted(slurm, tmp_path_factory) -> dict[int, Path]:
    """Job folders of the same sweep without Slurm, in one process, by seed."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "gate").mkdir()
    (folder / "gate/signalled").touch()
    sweep = Sweep(folder, slurm, "seed=0,1,2")
    assert sweep.ends() == 0, sweep.log.read_text()
    jobs = job_folders(folder)
    assert set(jobs) == {0, 1, 2}
    return jobs


def job_folders(folder: Path) -> dict[int, Path]:
    found = {}
    for record in folder.glob("outputs/sweep/*/*/job.json"):
        (seed,) = (part for part in record.parent.name.split("_") if part.startswith("seed"))
        found[int(seed.removeprefix("seed"))] = record.parent
    return found


def record(folder: Path) -> dict:
    return json.loads((folder / "job.json").read_text())


def assert_same(one: Path, other: Path) -> None:
    """Compare scores, confusion matrix, and weights bit by bit."""
    results = [json.loads((folder / "result.json").read_text()) for folder in (one, other)]
    assert results[0]["scores"] == results[1]["scores"]
    assert (one / "confusion.csv").read_text() == (other / "confusion.csv").read_text()
    nets = [torch.load(f / "checkpoints/last.ckpt", weights_only=True) for f in (one, other)]
    assert nets[0]["global_step"] == nets[1]["global_step"] == 6
    assert nets[0]["state_dict"].keys() == nets[1]["state_dict"].keys()
    for name, weights in nets[0]["state_dict"].items():
        assert torch.equal(weights, nets[1]["state_dict"][name]), name


def test_cancelled_job_fails_alone_and_the_same_command_resumes_it(slurm, uninterrupted, tmp_path):
    first = Sweep(tmp_path, slurm, "seed=0,1,2", *SLURM)
    first.wait_until((first.gate / "waiting").exists)
    slurm_here.says(first.env, "scancel", first.slurm_job(0))
    assert first.ends() == 1, first.log.read_text()
    jobs = job_folders(tmp_path)
    assert record(jobs[0])["error"]["type"].startswith("CANCELLED")
    for seed in (1, 2):
        assert_same(jobs[seed], uninterrupted[seed])
    stopped = torch.load(jobs[0] / "checkpoints/last.ckpt", weights_only=True)
    assert stopped["global_step"] == 3  # not 2, the last validation: it saved on the signal

    again = Sweep(tmp_path, slurm, "seed=0,1,2", *SLURM)
    assert again.ends() == 0, again.log.read_text()
    assert_same(jobs[0], uninterrupted[0])
    assert [record(jobs[seed])["attempts"] for seed in (0, 1, 2)] == [2, 1, 1]


def test_jobs_record_themselves_after_the_command_has_left(slurm, uninterrupted, tmp_path):
    leave = [
        "seed=0,1,2",
        *SLURM,
        "hydra.launcher.wait=false",
        "hydra.launcher.array_parallelism=1",
    ]
    first = Sweep(tmp_path, slurm, *leave)
    assert first.ends() == 0 and "3 jobs: 3 queued" in first.log.read_text()
    until((first.gate / "waiting").exists)
    (place,) = tmp_path.glob("outputs/sweep/*/")
    assert "3 jobs: 1 running, 2 queued" in status(first, place)
    again = Sweep(tmp_path, slurm, *leave)
    assert again.ends() == 0
    assert "0 jobs queued in Slurm, 3 queued or running before" in again.log.read_text()
    slurm_here.says(first.env, "scancel", first.slurm_job(0))
    until(lambda: "2 done, 1 stopped" in status(first, place))

    resumed = Sweep(tmp_path, slurm, *leave)  # `resume` would refuse the loss of these tests
    assert resumed.ends() == 0
    assert "1 job queued in Slurm" in resumed.log.read_text()
    assert "3 jobs: 2 done (0 now, 2 before), 1 queued" in resumed.log.read_text()
    until(lambda: "3 jobs: 3 done" in status(first, place))
    jobs = job_folders(tmp_path)
    for seed in (0, 1, 2):
        assert_same(jobs[seed], uninterrupted[seed])
    assert [record(jobs[seed])["attempts"] for seed in (0, 1, 2)] == [2, 1, 1]


def until(there: Callable[[], bool], seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def status(sweep: Sweep, place: Path) -> str:
    """What `python -m fcnexp.sweep status` prints."""
    command = [sys.executable, "-m", "fcnexp.sweep", "status", str(place)]
    done = subprocess.run(command, cwd=sweep.folder, env=sweep.env, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def test_job_is_requeued_at_its_time_limit_and_resumes(slurm, uninterrupted, tmp_path):
    limit = ["hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=30"]
    sweep = Sweep(tmp_path, slurm, "seed=0", *SLURM, *limit)
    assert sweep.ends() == 0, sweep.log.read_text()
    assert (sweep.gate / "signalled").read_text().startswith("SIGUSR2")
    (job,) = job_folders(tmp_path).values()
    assert record(job)["attempts"] >= 2  # a slow machine may reach the limit again
    assert_same(job, uninterrupted[0])


def test_killed_job_and_job_at_its_last_time_limit_are_reported(slurm, tmp_path):
    """Each fails alone, and finished jobs are not queued again."""
    # With limits above some ten minutes, submitit takes an early signal for preemption.
    limit = ["hydra.launcher.timeout_min=8", "hydra.launcher.max_num_timeout=0"]
    arguments = ["seed=0,1", *SLURM, *limit]
    first = Sweep(tmp_path, slurm, *arguments)
    first.wait_until((first.gate / "waiting").exists)
    os.kill(int((first.gate / "waiting").read_text()), signal.SIGKILL)
    assert first.ends() == 1, first.log.read_text()
    jobs = job_folders(tmp_path)
    assert [record(jobs[seed])["state"] for seed in (0, 1)] == ["failed", "done"]
    assert record(jobs[0])["error"]["type"] == "FAILED"  # Slurm's state
    assert "2 jobs: 1 done (1 now, 0 before), 1 failed" in first.log.read_text()

    (first.gate / "waiting").unlink()
    second = Sweep(tmp_path, slurm, *arguments)
    second.wait_until((second.gate / "waiting").exists)
    assert "1 job queued in Slurm" in second.log.read_text()
    slurm_here.says(second.env, "scancel", "--signal=USR2", second.slurm_job(0))
    assert second.ends() == 1, second.log.read_text()
    error = record(jobs[0])["error"]
    assert error["type"] == "TIMEOUT" and "time limit reached too often" in error["message"]
