"""Long-running processes do not leak memory, files, threads or processes.

Real leaks are a few kilobytes per step or an open file per job; the bounds are well below that.
"""

import ctypes
import gc
from typing import NamedTuple

import numpy as np
import psutil
import pytest
from commands import TINY, fcnexp

from fcnexp.sweep import job as sweep_job
from fcnexp.task.callbacks import ScoreLines

STEPS, EVERY = 2000, 100
JOBS = 50
MEGABYTE = 2**20


class Sample(NamedTuple):
    """Resources of the process. memory: bytes that are not shared with other processes."""

    memory: int
    files: int
    threads: int
    children: int


def sample() -> Sample:
    """Measure the process after returning free memory to the system."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # of glibc
        libc.malloc_trim(0)
    me = psutil.Process()
    with me.oneshot():
        memory = me.memory_info()
        return Sample(
            memory.rss - getattr(memory, "shared", 0),
            me.num_fds(),
            me.num_threads(),
            len(me.children(recursive=True)),
        )


def growth(samples: list[Sample], each: int) -> float:
    """Growth of memory in bytes per step or job, with `each` of them between samples.

    It is the slope of the second half; the first half fills caches.
    """
    half = [taken.memory for taken in samples[len(samples) // 2 :]]
    return float(np.polyfit(np.arange(len(half)), half, 1)[0]) / each


def describe(samples: list[Sample]) -> str:
    chosen = [samples[0], samples[len(samples) // 2], samples[-1]]
    memory = " ".join(f"{taken.memory / MEGABYTE:.0f}" for taken in chosen)
    counts = ", ".join(
        f"{name} {' '.join(str(getattr(taken, name)) for taken in chosen)}"
        for name in ("files", "threads", "children")
    )
    return f"at the start, in the middle, at the end: memory {memory} MiB, {counts}"


def refuse_leaks(samples: list[Sample], each: int, allowed: float) -> None:
    """Assert that nothing leaks. allowed: growth of memory in bytes per step or job."""
    second = samples[len(samples) // 2 :]
    assert growth(samples, each) < allowed, describe(samples)
    for name in ("files", "threads", "children"):
        counts = [getattr(taken, name) for taken in second]
        assert max(counts) <= getattr(samples[len(samples) // 2], name) + 2, (name, counts)
        assert counts[-1] <= counts[0] + 1, (name, counts)


@pytest.mark.slow
def test_2000_steps_do_not_leak(tmp_path, monkeypatch, tell):
    samples = []
    line = ScoreLines.on_validation_end

    def and_sample(self, trainer, module):
        line(self, trainer, module)
        samples.append(sample())

    monkeypatch.setattr(ScoreLines, "on_validation_end", and_sample)
    sizes = [
        "data.side=[48,88]",
        "data.num_train=40",
        "data.num_val=4",
    ]  # images of different sizes
    length = [f"regime.steps={STEPS}", f"regime.score_every={EVERY}", "workers=2"]
    command = [*TINY, *sizes, *length, "trainer=cpu", "hydra.run.dir=out"]
    done = fcnexp("train", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(samples) == STEPS // EVERY
    tell(
        f"soak: {STEPS} steps in one process, {growth(samples, EVERY):+.0f} bytes a step at the "
        f"end; {describe(samples)}"
    )
    refuse_leaks(samples, EVERY, 5_000)


@pytest.mark.slow
def test_50_jobs_of_a_sweep_do_not_leak(tmp_path, monkeypatch, tell):
    samples = []
    attempt = sweep_job._attempt

    def and_sample(*arguments):
        ending = attempt(*arguments)
        samples.append(sample())
        return ending

    monkeypatch.setattr(sweep_job, "_attempt", and_sample)
    seeds = "seed=" + ",".join(map(str, range(JOBS)))
    command = ["-m", *TINY, seeds, "workers=1", "trainer=cpu", "hydra.sweep.dir=sweep"]
    command += ["logger=csv"]  # W&B 0.31 leaks 0.25 MB per run
    done = fcnexp("train", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0 and f"{JOBS} jobs: {JOBS} done" in done.stdout, done.stderr
    assert len(samples) == JOBS
    tell(
        f"soak: {JOBS} jobs in one process, {growth(samples, 1) / 1000:+.0f} kB a job at the end; "
        f"{describe(samples)}"
    )
    refuse_leaks(samples, 1, 200_000)
