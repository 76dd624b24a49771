"""Run folders: ownership, finished results, and the checkpoint to resume from."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from fcnexp.config.identity import OWN_FOLDER, ROOTS, counted
from fcnexp.config.trainer_arguments import IN_STEPS
from fcnexp.config.values import to_plain
from fcnexp.errors import ConfigError, DataError, OtherVersionError, WeightsError
from fcnexp.reporting.records import CONFIG, RESULT, read_result
from fcnexp.run import data_record, locks, longer
from fcnexp.system import this_process
from fcnexp.system.bounded import check_yaml
from fcnexp.system.checkpoint_store import LAST, PREVIOUS
from fcnexp.system.os_errors import reraise_system_error


class Stopped(NamedTuple):
    """Checkpoint of an interrupted run. step: optimiser steps done."""

    path: Path
    step: int


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a run's folder for the block. Raises ConfigError if another process holds the lock.

    Only rank 0 locks it. Raises FolderError if it cannot be locked.
    """
    if this_process.rank():
        yield
        return
    with locks.claim(folder) as mine:  # the same lock as a sweep's: this may be one of its jobs
        if not mine:
            raise ConfigError(
                f"hydra.run.dir={folder}: another process is using this folder; wait for it, or "
                "choose another folder"
            )
        yield


def claim(folder: Path, otherwise: str = "") -> None:
    """Raise ConfigError if a folder already holds a run. otherwise: more advice for the message."""
    if sign := _sign_of_weights(folder):
        raise ConfigError(
            f"hydra.run.dir={folder}: already holds a run ({sign}); choose another folder, "
            f"{otherwise}or remove it yourself"
        )


def enter(folder: Path, cfg: DictConfig) -> None:
    """Raise ConfigError if `resume` does not fit the folder's content.

    auto resumes a run if the folder holds one; true requires a run, and false an unused folder.
    """
    if cfg.resume is False:
        claim(folder, "leave out resume=false to continue it, ")
        return
    if cfg.resume is True and not (_sign_of_weights(folder) or (folder / CONFIG).is_file()):
        raise ConfigError(
            f"resume=true: {folder} holds no run; set hydra.run.dir to the run to resume, or leave "
            "out resume to start a new one"
        )
    refuse_other_config(folder, cfg)


def _sign_of_weights(folder: Path) -> str | None:
    signs = (RESULT, "checkpoints", "stages")
    return next((sign for sign in signs if (folder / sign).exists()), None)


def refuse_other_config(folder: Path, cfg: DictConfig) -> None:
    """Raise ConfigError with the first setting that differs from those of the folder's run."""
    stored = stored_config(folder)
    if stored is None:
        return  # no run has started here, or only an earlier stage
    for name, was, now in differences(counted(stored), counted(to_plain(cfg))):
        if name == "init.path":  # the previous stage's checkpoint, in a folder of this run
            continue
        if name in (f"trainer.{each}" for each in IN_STEPS):
            continue  # regime.steps says the same
        if name == "regime.steps" and isinstance(was, int) and was < now:
            longer.refuse_unless_the_same(folder, cfg, was)
            continue
        why = ""
        if name in (f"data.{root}" for root in ROOTS):
            if (folder / data_record.DATA).is_file():
                why = data_record.changes(folder, data_record.roots_of(to_plain(cfg)))
                if not why:
                    continue  # the data was moved
                why = f", which has other {why}"
            elif cfg.data._target_ != OWN_FOLDER and Path(str(was)).name == Path(str(now)).name:
                continue  # an older version started the run and recorded nothing else
        raise ConfigError(
            f"hydra.run.dir={folder}: the run there was started with {name}={was}, not {now}{why}; "
            "use the old value, or another folder"
        )


def stored_config(folder: Path) -> dict[str, Any] | None:
    """Config of a folder's run, or None if it has none. Raises ConfigError if it is damaged."""
    file = folder / CONFIG
    if not file.is_file():
        return None
    try:
        stored = OmegaConf.to_container(OmegaConf.create(check_yaml(file).decode()))
        if not isinstance(stored, dict):
            raise ValueError
    except Exception as error:  # YAML and OmegaConf raise many types
        reraise_system_error(error)
        raise ConfigError(f"{file}: damaged ({type(error).__name__}); remove it") from None
    return {str(key): value for key, value in stored.items()}


def differences(first: Any, second: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """List (dotted key, first value, second value) for each difference of two plain configs."""
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return [] if first == second else [(path, first, second)]
    found = []
    for key in [*first, *(key for key in second if key not in first)]:
        name = f"{path}.{key}" if path else str(key)
        found += differences(first.get(key), second.get(key), name)
    return found


def finished(folder: Path) -> dict[str, Any] | None:
    """Result of a finished run, otherwise None. Raises ConfigError if it is damaged."""
    try:
        return read_result(folder)
    except FileNotFoundError:
        return None
    except DataError:
        raise ConfigError(f"{folder / RESULT}: damaged; remove it to score again") from None


def last_checkpoint(folder: Path) -> Stopped | None:
    """Checkpoint from which this folder's run can resume; None if it has none.

    That is the last one or, if it is damaged, which is printed, the one before. Raises WeightsError
    if both are damaged, and OtherVersionError if another version of fcnexp wrote one.
    """
    from fcnexp.nn.weights.checkpoints import read_checkpoint  # imports torch

    found = [folder / "checkpoints" / name for name in (LAST, PREVIOUS)]
    found = [path for path in found if path.is_file()]
    for path in found:
        try:
            stored = read_checkpoint(path, mapped=True)
            if "global_step" not in stored or not stored.get("optimizer_states"):
                raise WeightsError(f"{path}: holds only weights, so training cannot resume")
            return Stopped(path, int(stored["global_step"]))
        except OtherVersionError:
            raise
        except WeightsError as error:
            if path == found[-1]:
                raise WeightsError(
                    f"{error}; remove {path.parent} to start this training over"
                ) from None
            print(f"{error}\ncontinues from the checkpoint before it, {found[-1].name}")
    return None


def last_good(folder: Path) -> str:
    """Describe the checkpoint from which a failed training can resume, for its message."""
    try:
        stopped = last_checkpoint(folder)
    except WeightsError as error:
        return str(error)
    if stopped is None:
        return "no checkpoint has been written yet"
    return f"the last good checkpoint is {stopped.path}, after step {stopped.step}"


def report_stopped(stop: SystemExit, folder: Path, step: int | None) -> int:
    """Print how to resume a training that a signal has stopped; return the process's exit code.

    stop: Lightning's, or `task.stopping.StopRequested`. step: of the last checkpoint, if any. On
    SIGUSR1, by which Slurm announces the end of a job, the job is queued again.
    """
    number = getattr(stop, "signal", signal.SIGTERM)
    if number == signal.SIGUSR1:
        _requeue()
    where = "before its first checkpoint" if step is None else f"after step {step}"
    print(
        f"stopped by {signal.Signals(number).name} {where}; the same command with hydra.run.dir="
        f"{folder} continues"
    )
    return 128 + number


def _requeue() -> None:
    """Have Slurm queue this process's job again under the same number."""
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    if done.returncode:
        print(f"scontrol requeue {job}: {done.stderr.strip()}", file=sys.stderr)


def set_aside_metrics(folder: Path, step: int) -> None:
    """Rename an interrupted run's metrics.csv, which the resumed run would overwrite."""
    metrics = folder / "metrics.csv"
    if metrics.is_file():
        ends = itertools.chain([""], (f"_{number}" for number in itertools.count(2)))
        paths = (folder / f"metrics_until_{step}{end}.csv" for end in ends)
        metrics.rename(next(path for path in paths if not path.exists()))
