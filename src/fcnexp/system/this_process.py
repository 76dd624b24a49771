"""What this machine lets a process use, and which of a run's processes it is."""

import os


def cores() -> int:
    """Processor cores that this process may use, such as those that Slurm gave it."""
    if hasattr(os, "sched_getaffinity"):  # macOS knows none of it
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def rank() -> int:
    """Number of this process in its run; the first, 0, writes all that is written.

    The others are started by Lightning, where `trainer.devices` is above 1.
    """
    return int(os.environ.get("LOCAL_RANK", "0"))
