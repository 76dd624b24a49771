"""One run in several processes: which of them this is, and how they divide a step."""

import os
import sys
import threading
import time
from typing import Any, NamedTuple

from omegaconf import DictConfig

from fcnexp.errors import ConfigError
from fcnexp.system.this_process import RANKS_OF, rank

RESUME = "FCNEXP_RESUME"  # environment: `resume` of the first process, which a sweep may have set

GRACE = 5  # seconds for a process to end by itself


def follow(cfg: DictConfig) -> None:
    """Make this process do as the first does: go on with a run if it does, and say nothing."""
    if rank():
        cfg.resume = "auto" if os.environ.get(RESUME) == "1" else False
        attend()
    elif cfg.trainer.devices > 1:
        os.environ[RESUME] = str(int(bool(cfg.resume)))


def attend() -> None:
    """Let a process that is not the first print nothing but what goes wrong, and end with it.

    On GPUs it would wait for the first for half an hour, and keep its GPU.
    """
    if rank():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        first = int(os.environ[RANKS_OF])  # by now this process's parent may be another
        threading.Thread(target=_end_with, args=(first,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process a moment after the one that has started it."""
    while os.getppid() == parent:
        time.sleep(1)
    time.sleep(GRACE)
    os._exit(1)


class Division(NamedTuple):
    """What one process does of a step.

    batch_size: images per pass; accumulate: passes per step; block: draws that go to one process
    before the next has its turn. passes_whole: each pass is one process's alone, else all of them
    share each pass.
    """

    processes: int
    batch_size: int
    accumulate: int
    block: int
    passes_whole: bool


def divided(cfg: DictConfig) -> Division:
    """The regime's step divided among `trainer.devices` processes.

    Passes are dealt out where their number allows it, else the images of each pass, so that a step
    sees the same images whatever the number of processes. Raises ConfigError where neither goes.
    """
    processes, batch, passes = cfg.trainer.devices, cfg.regime.batch_size, cfg.regime.accumulate
    if passes % processes == 0:
        return Division(processes, batch, passes // processes, batch, True)
    if batch % processes == 0:
        return Division(processes, batch // processes, passes, 1, False)
    raise ConfigError(
        f"trainer.devices={processes}: a step of regime.batch_size={batch} images in "
        f"regime.accumulate={passes} passes cannot be divided among {processes} processes; make "
        f"one of the two a multiple of {processes} (a larger step may want another regime.lr)"
    )


def share_batches(loss: Any, division: Division) -> Any:
    """The loss, told how many processes share each batch, if they do.

    Raises ConfigError where it cannot be told: the mean over a batch is of all its images.
    """
    if division.passes_whole:
        return loss
    if not hasattr(loss, "processes"):
        raise ConfigError(
            f"trainer.devices={division.processes}: {type(loss).__name__} cannot tell how the "
            "processes share a batch; make regime.accumulate a multiple of that"
        )
    loss.processes = division.processes
    return loss
