"""What this machine lets a process use, and which of a run's processes it is."""

import functools
import os

from fcnexp.errors import ConfigError

RANKS_OF = "FCNEXP_RANKS_OF"  # environment: number of the first process, for those it starts
TORCHRUN = "TORCHELASTIC_RUN_ID"  # environment of torchrun's processes
# What Lightning and torch read in the environment of a process that is one of several.
OF_RANKS = (
    *("LOCAL_RANK", "RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("MASTER_ADDR", "MASTER_PORT", TORCHRUN),
)


def cores() -> int:
    """Processor cores that this process may use, such as those that Slurm gave it."""
    if hasattr(os, "sched_getaffinity"):  # macOS knows none of it
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache  # it must not change if the first process dies
def rank() -> int:
    """Number of this process in its run; the first, 0, writes all that is written.

    Lightning starts the others if `trainer.devices` is above 1. Any other process is the first of
    a run of its own: what was left in its environment is removed, as Lightning would believe it.
    Raises ConfigError in torchrun's processes, and in one whose first process is gone.
    """
    number, first = os.environ.get("LOCAL_RANK", "0"), os.environ.get(RANKS_OF)
    if first is not None and number != "0":
        if first == str(os.getppid()):
            return int(number)
        raise ConfigError(
            f"LOCAL_RANK={number}: process {first}, the first of that run, has ended or is not the "
            f"parent of this one; to start a run of its own, type unset LOCAL_RANK {RANKS_OF}"
        )
    processes = os.environ.get("WORLD_SIZE", "1")
    if TORCHRUN in os.environ and processes != "1":
        raise ConfigError(
            f"torchrun with {processes} processes: each would do the whole run; a run starts its "
            f"other processes itself: type python -m fcnexp.train trainer.devices={processes} (or "
            f"fcnexp.evaluate) without torchrun; if this is not torchrun, type unset {TORCHRUN}"
        )
    for name in (RANKS_OF, *OF_RANKS):
        os.environ.pop(name, None)
    return 0


def announce_ranks() -> None:
    """Let the processes that the first one starts from here on believe their LOCAL_RANK."""
    if rank() == 0:
        os.environ[RANKS_OF] = str(os.getpid())
