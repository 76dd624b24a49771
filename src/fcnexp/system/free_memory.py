"""Memory that this process can still get."""

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
_GROUP_LIMITS = (  # of a container or a Slurm job: limit and usage, cgroup v2 and v1
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


def free() -> int:
    """Return the bytes that this process can still get from the machine and its container."""
    import psutil

    left = psutil.virtual_memory().available
    for limit, used in _GROUP_LIMITS:
        try:
            left = min(left, int((CGROUP / limit).read_text()) - int((CGROUP / used).read_text()))
        except (OSError, ValueError):  # no such group, or `max`, which means no limit
            continue
    return max(0, left)
