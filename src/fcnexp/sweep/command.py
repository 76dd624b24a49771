"""Command line of `fcnexp.train`: one run, a sweep, or one job of a sweep."""

import functools
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict, read_write

from fcnexp.cli import entry
from fcnexp.config.compose import offer_resolvers
from fcnexp.config.job_names import digest_of
from fcnexp.config.secrets import withhold_secrets
from fcnexp.run import run_folder
from fcnexp.sweep import launches, processes, summary
from fcnexp.sweep.job import STOPPED, Job, Task
from fcnexp.sweep.job import run as run_job

# Modules of the exceptions that launchers raise if one of their processes is gone.
LOST = ("joblib.", "submitit.")
SUBMITTED = "SUBMITIT_EXECUTOR"  # environment: set by submitit in its jobs


def run(task: Task) -> None:
    """Run the command line: one run, a sweep or, if the environment says so, one of its jobs.

    A sweep ends with a summary of its jobs, and with exit code 1 unless all are done.
    """
    number = os.environ.pop(processes.JOB, None)  # child processes must not inherit it
    if number is None:
        os.environ.pop(launches.LAUNCH, None)
    code = 0
    try:
        entry.run(functools.partial(_run_one, task, number), "train")
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
            jobs_code = summary.finish(launch)
            code = code or jobs_code
    if code:
        raise SystemExit(code)


def _run_one(task: Task, number: str | None, cfg: DictConfig, folder: Path) -> float | None:
    """Run one config. number: of the job, if this process runs one job of a sweep."""
    settings = HydraConfig.get()
    entry.quiet_libraries()  # a launcher may have started this process
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


class Ledger(Callback):
    """Hydra's callback at the start of a sweep: begins a launch that its processes share."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Begin a launch; `run` ends it after Hydra has returned."""
        folder = Path(str(config.hydra.sweep.dir))
        with read_write(config), open_dict(config):
            _fix_sweep_folder(config)
        command = ["python", "-m", "fcnexp.train", *sys.argv[1:]]
        launches.start(folder, command, lasting=not config.dry_run)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Register the resolvers: joblib's and submitit's processes compose configs after this.

        Nothing else of fcnexp has run there that could locate `conf` and `sweeps`.
        """
        self.__dict__.update(state)
        offer_resolvers()
        withhold_secrets()

    def __getstate__(self) -> dict[str, Any]:
        """Return a non-empty state; otherwise `__setstate__` would not be called."""
        return {"ledger": True}


def _fix_sweep_folder(config: DictConfig) -> None:
    """Add the sweep's folder to the settings of each job, which cannot derive it from its own.

    Every launcher composes a job's config from these settings and the job's overrides.
    """
    settings = config.hydra.overrides.hydra
    if not any(setting.lstrip("+").startswith("hydra.sweep.dir=") for setting in settings):
        quoted = str(config.hydra.sweep.dir).replace('"', '\\"')
        with read_write(settings):
            settings.append(f'hydra.sweep.dir="{quoted}"')


@contextmanager
def stopping_between_steps() -> Iterator[None]:
    """Make submitit's signal end the training step and save before the job is requeued.

    SIGUSR2 comes some time before the job's time limit, and on preemption. Submitit's own handler
    exits immediately, in the middle of a step, where weights may be half updated. Does nothing in
    a process that submitit did not start.
    """
    if SUBMITTED not in os.environ:
        yield
        return
    from submitit import JobEnvironment

    number = JobEnvironment._usr_sig()
    requeue, idle = signal.getsignal(number), signal.getsignal(signal.SIGTERM)
    received: list[tuple[int, FrameType | None]] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        received.append((signum, frame))
        if signal.getsignal(signal.SIGTERM) == idle:  # no Trainer is running
            raise SystemExit(STOPPED)
        signal.raise_signal(signal.SIGTERM)  # Lightning stops after this step

    signal.signal(number, stop)
    try:
        yield
    except SystemExit:
        if not (received and callable(requeue)):
            raise
        requeue(*received[0])  # ends the process
    finally:
        signal.signal(number, requeue)
