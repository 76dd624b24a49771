"""The command line of a sweep: each of its jobs goes through the ledger, and the end is told."""

import functools
import os
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from fcnexp import cli
from fcnexp.sweep import job, launches, processes, summary
from fcnexp.sweep.requeue import stopping_between_steps

# Exceptions of launchers when a process of theirs is gone; the ledger says whose.
LOST = ("joblib.", "submitit.")


def run(task: job.Task) -> None:
    """Do what the command line says: one run, a sweep, or, told by the environment, a sweep's job.

    A sweep ends with what became of its jobs, and with exit code 1 where one is not done.
    """
    of_sweep = os.environ.pop(processes.JOB, None) is not None  # not for processes of our own
    if not of_sweep:
        os.environ.pop(launches.LAUNCH, None)
    code = 0
    try:
        cli.run(functools.partial(_around, task, of_sweep), "train")
    except Exception as error:
        if not type(error).__module__.startswith(LOST):
            raise
        print(f"error: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)
        code = 1
    finally:
        if not of_sweep and (launch := launches.current()):
            del os.environ[launches.LAUNCH]
            code = summary.finish(launch) or code
    if code:
        raise SystemExit(code)


def _around(task: job.Task, of_sweep: bool, cfg: DictConfig, folder: Path) -> float | None:
    settings = HydraConfig.get()
    cli.quiet_libraries()  # this may be a process that a launcher has started
    if cfg.dry_run or not (of_sweep or settings.mode == RunMode.MULTIRUN):
        return task(cfg, folder)
    with stopping_between_steps():
        ending = job.run(task, cfg, folder, list(settings.overrides.task))
    if of_sweep and ending.outcome not in ("now", "before"):
        raise SystemExit(processes.CODES[ending.outcome])
    return ending.miou
