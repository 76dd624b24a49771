"""Memory that a process holds, and sizes of memory as text."""

import ctypes
import math
import re

from fcnexp.errors import ConfigError

UNITS = {
    **{"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12},
    **{"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40},
}
M_MMAP_THRESHOLD, BLOCK = -3, 2**20  # glibc's malloc.h; bytes


def bytes_of_text(text: str) -> int:
    """Return the bytes of a text such as 2GB, 1.5GiB, 800 MB or 2000000000. Raises ConfigError."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([a-z]*)", text.strip().lower())
    size = float(found[1]) * UNITS.get(found[2], 0) if found else 0
    if not 1 <= size < math.inf:
        raise ConfigError(
            f"memory={text}: must be a number of bytes, or a number with a unit: KB, MB, GB "
            "(powers of 1000), KiB, MiB, GiB (of 1024); try memory=2GB, or memory=null to use what "
            "is free"
        )
    return int(size)


def megabytes(size: float) -> str:
    """Format a number of bytes as it can be typed, such as 1234MB, rounded up."""
    return f"{-int(-size // 10**6)}MB"


def resident() -> int:
    """Return the bytes of memory that this process holds now, including libraries."""
    import psutil

    return psutil.Process().memory_info().rss


def return_freed() -> None:
    """Make glibc return freed memory to the system immediately; other C libraries are left alone.

    By default glibc raises the size up to which it keeps blocks, and holds hundreds of MB in pieces
    too small for the next map: GoogLeNet's peak was 710 MB above the start, and is now 450 MB.
    """
    try:
        ctypes.CDLL("libc.so.6").mallopt(M_MMAP_THRESHOLD, BLOCK)
    except (OSError, AttributeError):  # not glibc: the limit is less exact
        return
