"""Processor, cores and memory of this process, and its rank in the run."""

import ctypes
import functools
import os
import platform
from pathlib import Path

from fcnexp.errors import ConfigError

RANKS_OF = "FCNEXP_RANKS_OF"  # environment: process ID of rank 0, for the ranks it starts
TORCHRUN = "TORCHELASTIC_RUN_ID"  # environment of torchrun's processes
# Environment variables by which Lightning and torch identify one of several processes.
OF_RANKS = (
    *("LOCAL_RANK", "RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("MASTER_ADDR", "MASTER_PORT", TORCHRUN),
)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h, in bytes


def cores() -> int:
    """Number of processor cores that this process may use, for example in a Slurm job."""
    if hasattr(os, "sched_getaffinity"):  # missing on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Name of the processor, as the system reports it."""
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        for line in listed.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next map; other C libraries are left alone.

    By default it returns large blocks to the system, which hands them out again page by page: some
    20000 page faults in each step of GoogLeNet, a tenth of its time. The peak stays the same.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # not glibc
        return
    mallopt(M_MMAP_THRESHOLD, 2**30)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@functools.cache  # it must not change if rank 0 dies
def rank() -> int:
    """Rank of this process in its run; only rank 0 writes files.

    Lightning starts the other ranks if `trainer.devices` is above 1. Any other process is rank 0:
    rank variables left in its environment are removed, since Lightning would use them. Raises
    ConfigError in torchrun's processes, and in a rank whose rank 0 is gone.
    """
    number, first = os.environ.get("LOCAL_RANK", "0"), os.environ.get(RANKS_OF)
    if first is not None and number != "0":
        if first == str(os.getppid()):
            return int(number)
        raise ConfigError(
            f"LOCAL_RANK={number}: process {first}, rank 0 of that run, has ended or is not the "
            f"parent of this process; to start a new run, type unset LOCAL_RANK {RANKS_OF}"
        )
    processes = os.environ.get("WORLD_SIZE", "1")
    if TORCHRUN in os.environ and processes != "1":
        raise ConfigError(
            f"torchrun with {processes} processes: each would do the complete run; fcnexp starts "
            f"its processes itself: type python -m fcnexp.train trainer.devices={processes} (or "
            f"fcnexp.evaluate) without torchrun; if this is not torchrun, type unset {TORCHRUN}"
        )
    for name in (RANKS_OF, *OF_RANKS):
        os.environ.pop(name, None)
    return 0


def announce_ranks() -> None:
    """Make the processes that rank 0 starts from now on accept their LOCAL_RANK."""
    if rank() == 0:
        os.environ[RANKS_OF] = str(os.getpid())
