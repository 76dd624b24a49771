"""The command line of a sweep: each of its jobs goes through the ledger, and the end is told."""

import functools
import os
import signal
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from fcnexp.cli import entry
from fcnexp.config.job_names import digest_of
from fcnexp.run import run_folder
from fcnexp.sweep import launches, processes, summary
from fcnexp.sweep.job import Job, Task
from fcnexp.sweep.job import run as run_job
from fcnexp.sweep.requeue import stopping_between_steps

# Exceptions of launchers when a process of theirs is gone; the ledger says whose.
LOST = ("joblib.", "submitit.")


def run(task: Task) -> None:
    """Do what the command line says: one run, a sweep, or, told by the environment, a sweep's job.

    A sweep ends with what became of its jobs, and with exit code 1 where one is not done.
    """
    number = os.environ.pop(processes.JOB, None)  # not for processes of our own
    if number is None:
        os.environ.pop(launches.LAUNCH, None)
    code = 0
    try:
        entry.run(functools.partial(_around, task, number), "train")
    except KeyboardInterrupt:
        if launches.current() is None:
            raise
        code = 128 + signal.SIGINT
    except Exception as error:
        if not type(error).__module__.startswith(LOST):
            raise
        print(f"error: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)
        code = 1
    finally:
        if number is None and (launch := launches.current()):
            del os.environ[launches.LAUNCH]
            told = summary.finish(launch)
            code = code or told
    if code:
        raise SystemExit(code)


def _around(task: Task, number: str | None, cfg: DictConfig, folder: Path) -> float | None:
    """number: of the job, where this process is one of a sweep's."""
    settings = HydraConfig.get()
    entry.quiet_libraries()  # this may be a process that a launcher has started
    if cfg.dry_run:
        return task(cfg, folder)
    if number is None and settings.mode != RunMode.MULTIRUN:
        with run_folder.held(folder):
            return task(cfg, folder)
    place = settings.job.num if number is None else number
    job = Job(int(place), list(settings.overrides.task), folder, digest_of(cfg))
    with stopping_between_steps():
        ending = run_job(task, cfg, job)
    if number is not None and ending.outcome not in ("now", "before"):
        raise SystemExit(processes.CODES[ending.outcome])
    return ending.miou
