"""What this machine lets a process use."""

import os


def cores() -> int:
    """Processor cores that this process may use, such as those that Slurm gave it."""
    if hasattr(os, "sched_getaffinity"):  # macOS knows none of it
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
