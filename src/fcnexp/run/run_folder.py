"""Run folders: whose they are, what is finished in them, and where a run can go on."""

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
from fcnexp.config.values import to_plain
from fcnexp.errors import ConfigError, DataError, OtherVersionError, WeightsError
from fcnexp.reporting.records import CONFIG, RESULT, read_result
from fcnexp.run import data_record, locks
from fcnexp.system import this_process
from fcnexp.system.checkpoint_store import LAST, PREVIOUS
from fcnexp.system.os_errors import let_through


class Stopped(NamedTuple):
    """Where a run was broken off. step: optimiser's steps done."""

    path: Path
    step: int


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep others from working in a run's folder meanwhile. Raises ConfigError where one is at it.

    Of the processes of a run the first holds it. Raises FolderError where it cannot be locked.
    """
    if this_process.rank():
        yield
        return
    with locks.claim(folder) as mine:  # as a sweep holds its jobs, which this may be one of
        if not mine:
            raise ConfigError(
                f"hydra.run.dir={folder}: another process is at work there; wait for it, or choose "
                "another folder"
            )
        yield


def claim(folder: Path, otherwise: str = "") -> None:
    """Refuse a folder that holds a run. Raises ConfigError. otherwise: what else can be typed."""
    if sign := _sign_of_weights(folder):
        raise ConfigError(
            f"hydra.run.dir={folder}: a run is there already ({sign}); choose another folder, "
            f"{otherwise}or remove it yourself"
        )


def enter(folder: Path, cfg: DictConfig) -> None:
    """Refuse the folder where `resume` does not go with what is in it. Raises ConfigError.

    auto goes on with what is there, if anything; true wants something, and false nothing.
    """
    if cfg.resume is False:
        claim(folder, "leave resume=false out to go on with it, ")
        return
    if cfg.resume is True and not (_sign_of_weights(folder) or (folder / CONFIG).is_file()):
        raise ConfigError(
            f"resume=true: there is no run in {folder}; give the hydra.run.dir of the one that is "
            "to go on, or leave resume out to begin"
        )
    refuse_other_config(folder, cfg)


def _sign_of_weights(folder: Path) -> str | None:
    signs = (RESULT, "checkpoints", "stages")
    return next((sign for sign in signs if (folder / sign).exists()), None)


def refuse_other_config(folder: Path, cfg: DictConfig) -> None:
    """Refuse to continue a run with other settings. Raises ConfigError naming the first of them."""
    stored = stored_config(folder)
    if stored is None:
        return  # nothing was begun here, or only an earlier stage
    for name, was, now in differences(counted(stored), counted(to_plain(cfg))):
        if name == "init.path":  # of a stage: where the one before it lies
            continue
        why = ""
        if name in (f"data.{root}" for root in ROOTS):
            if (folder / data_record.DATA).is_file():
                why = data_record.changes(folder, data_record.roots_of(to_plain(cfg)))
                if not why:
                    continue  # it was moved
                why = f", which has other {why}"
            elif cfg.data._target_ != OWN_FOLDER and Path(str(was)).name == Path(str(now)).name:
                continue  # an older version has begun it, of which more is not known
        raise ConfigError(
            f"hydra.run.dir={folder}: the run there was begun with {name}={was}, not {now}{why}; "
            "give what it was, or another folder"
        )


def stored_config(folder: Path) -> dict[str, Any] | None:
    """The config that a run was begun with, if it was. Raises ConfigError where damaged."""
    file = folder / CONFIG
    if not file.is_file():
        return None
    try:
        stored = OmegaConf.to_container(OmegaConf.load(file))
        if not isinstance(stored, dict):
            raise ValueError
    except Exception as error:  # YAML's and OmegaConf's many types
        let_through(error)
        raise ConfigError(f"{file}: damaged ({type(error).__name__}); remove it") from None
    return {str(key): value for key, value in stored.items()}


def differences(first: Any, second: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Keys whose values differ between two plain configs, by dotted path."""
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return [] if first == second else [(path, first, second)]
    found = []
    for key in [*first, *(key for key in second if key not in first)]:
        name = f"{path}.{key}" if path else str(key)
        found += differences(first.get(key), second.get(key), name)
    return found


def finished(folder: Path) -> dict[str, Any] | None:
    """The result of a run that came to its end, else None. Raises ConfigError where damaged."""
    try:
        return read_result(folder)
    except FileNotFoundError:
        return None
    except DataError:
        raise ConfigError(f"{folder / RESULT}: damaged; remove it to score again") from None


def last_checkpoint(folder: Path) -> Stopped | None:
    """Where the run of this folder can go on; None where it must begin anew.

    That is the last checkpoint, or, if it is damaged, which is said, the one before. Raises
    WeightsError where both are, or of another version of fcnexp.
    """
    from fcnexp.nn.weights.checkpoints import read_checkpoint  # imports torch

    found = [folder / "checkpoints" / name for name in (LAST, PREVIOUS)]
    found = [path for path in found if path.is_file()]
    for path in found:
        try:
            stored = read_checkpoint(path, mapped=True)
            if "global_step" not in stored or not stored.get("optimizer_states"):
                raise WeightsError(f"{path}: holds weights only, nothing to continue from")
            return Stopped(path, int(stored["global_step"]))
        except OtherVersionError:
            raise
        except WeightsError as error:
            if path == found[-1]:
                raise WeightsError(
                    f"{error}; remove {path.parent} to begin this training anew"
                ) from None
            print(f"{error}\ngoes on from the one before it, {found[-1].name}")
    return None


def last_good(folder: Path) -> str:
    """In words, what a training that failed has left to go on from."""
    try:
        stopped = last_checkpoint(folder)
    except WeightsError as error:
        return str(error)
    if stopped is None:
        return "there is no checkpoint yet"
    return f"the last good checkpoint is {stopped.path}, after step {stopped.step}"


def say_stopped(stop: SystemExit, folder: Path, step: int | None) -> int:
    """Tell how a training goes on that a signal has stopped; returns the process's exit code.

    stop: Lightning's, or `task.stopping.StopRequested`. step: of its last checkpoint, if any. In a
    Slurm job that is told of its end, the job is queued again.
    """
    number = getattr(stop, "signal", signal.SIGTERM)
    if number == signal.SIGUSR1:
        queue_again()
    where = "before its first checkpoint" if step is None else f"after step {step}"
    print(
        f"stopped by {signal.Signals(number).name} {where}; the same command with hydra.run.dir="
        f"{folder} goes on with it"
    )
    return 128 + number


def queue_again() -> None:
    """Have Slurm queue this process's job again, under its own number."""
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    if done.returncode:
        print(f"scontrol requeue {job}: {done.stderr.strip()}", file=sys.stderr)


def keep_metrics(folder: Path, step: int) -> None:
    """Set a stopped run's metrics.csv aside: Lightning would write the continuation over it."""
    metrics = folder / "metrics.csv"
    if metrics.is_file():
        kept = folder / f"metrics_until_{step}.csv"
        number = 1
        while kept.exists():
            number += 1
            kept = folder / f"metrics_until_{step}_{number}.csv"
        metrics.rename(kept)
