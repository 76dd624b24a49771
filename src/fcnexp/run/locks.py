"""Locks of run folders; the kernel releases them when the process that holds them ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fcnexp.errors import UserError

LOCK = "job.lock"
START = "start.lock"  # held by the launcher until the job's own process may have taken LOCK
# Seconds to wait for a lock: `is_held` holds it for a moment, which must not make a job be skipped.
PATIENCE, PAUSE = 0.2, 0.02


class FolderError(UserError):
    """A run's or sweep's folder cannot be used; the message names it."""


@contextmanager
def claim(folder: Path, name: str = LOCK) -> Iterator[bool]:
    """Hold a lock of a job's folder; yields False if another process holds it.

    Processes forked meanwhile do not hold it. Raises FolderError if the folder cannot be locked.
    """
    lock = FileLock(folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=PATIENCE, poll_interval=PAUSE)
    except Timeout:
        pass
    except OSError as error:
        raise FolderError(
            f"{folder}: cannot be locked ({error.strerror}); choose a writable folder on a file "
            "system that supports locks"
        ) from None
    try:
        yield lock.is_locked
    finally:
        lock.release()


def is_held(folder: Path, name: str = LOCK) -> bool:
    """Return True if a process works on this job; with START, if one is being started."""
    if not (folder / name).exists():
        return False
    try:
        with FileLock(folder / name, timeout=0):
            return False
    except OSError:  # a Timeout, or another user's folder, whose lock cannot be tested
        return True
