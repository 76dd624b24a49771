"""One run in several processes: the behaviour of each, and the division of a step."""

import os
import sys
import threading
import time
from typing import Any, NamedTuple

from omegaconf import DictConfig

from fcnexp.errors import ConfigError
from fcnexp.system.this_process import RANKS_OF, rank

RESUME = "FCNEXP_RESUME"  # environment: `resume` of rank 0, which a sweep may have set
GRACE = 5  # seconds for a process to end by itself


def follow(cfg: DictConfig) -> None:
    """Make this process follow rank 0: resume only if it resumes, and print nothing."""
    if rank():
        cfg.resume = "auto" if os.environ.get(RESUME) == "1" else False
        attend()
    elif cfg.trainer.devices > 1:
        os.environ[RESUME] = str(int(bool(cfg.resume)))


def attend() -> None:
    """Silence the standard output of ranks above 0, and end them when rank 0 ends.

    On GPUs they would otherwise wait half an hour for rank 0, and keep their GPUs.
    """
    if rank():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        first = int(os.environ[RANKS_OF])  # this process may already have another parent
        threading.Thread(target=_end_with, args=(first,), daemon=True).start()


def _end_with(parent: int) -> None:
    """Exit `GRACE` seconds after the parent process has ended."""
    while os.getppid() == parent:
        time.sleep(1)
    time.sleep(GRACE)
    os._exit(1)


class Division(NamedTuple):
    """One process's part of a step.

    batch_size: images per pass; accumulate: passes per step; block: consecutive draws that go to
    one process. passes_whole: each pass belongs to one process; otherwise all share each pass.
    """

    processes: int
    batch_size: int
    accumulate: int
    block: int
    passes_whole: bool


def divided(cfg: DictConfig) -> Division:
    """Divide the regime's step among `trainer.devices` processes.

    Divides the passes if their number allows it, otherwise the images of each pass, so that a step
    sees the same images for any number of processes. Raises ConfigError if neither is possible.
    """
    processes, batch, passes = cfg.trainer.devices, cfg.regime.batch_size, cfg.regime.accumulate
    if passes % processes == 0:
        return Division(processes, batch, passes // processes, batch, True)
    if batch % processes == 0:
        return Division(processes, batch // processes, passes, 1, False)
    raise ConfigError(
        f"trainer.devices={processes}: a step of regime.batch_size={batch} images in "
        f"regime.accumulate={passes} passes cannot be divided among {processes} processes; make "
        f"one of the two a multiple of {processes} (a larger step may need another regime.lr)"
    )


def share_batches(loss: Any, division: Division) -> Any:
    """Set the number of processes that share each batch on the loss, and return it.

    Its mean must be taken over the whole batch. Raises ConfigError if the loss does not support it.
    """
    if division.passes_whole:
        return loss
    if not hasattr(loss, "processes"):
        raise ConfigError(
            f"trainer.devices={division.processes}: {type(loss).__name__} does not support batches "
            f"shared by processes; make regime.accumulate a multiple of {division.processes}"
        )
    loss.processes = division.processes
    return loss
