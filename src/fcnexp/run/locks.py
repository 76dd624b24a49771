"""Locks of run folders, which the kernel frees when the process that holds one ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fcnexp.errors import UserError

LOCK = "job.lock"
START = "start.lock"  # held by what has started a job's process, which may not hold the other yet
# Seconds to try for a lock: `is_held` takes it for a moment, which is no reason to skip a job.
PATIENCE, PAUSE = 0.2, 0.02


class FolderError(UserError):
    """A folder of a run or a sweep cannot be used; the message names it."""


@contextmanager
def claim(folder: Path, name: str = LOCK) -> Iterator[bool]:
    """Hold a job's lock of that name; gives False where another process has it.

    Processes forked meanwhile do not hold it. Raises FolderError where it cannot be locked.
    """
    lock = FileLock(folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=PATIENCE, poll_interval=PAUSE)
    except Timeout:
        pass
    except OSError as error:
        raise FolderError(
            f"{folder}: cannot be locked ({error.strerror}); choose a folder that you may write "
            "to, on a file system with locks"
        ) from None
    try:
        yield lock.is_locked
    finally:
        lock.release()


def is_held(folder: Path, name: str = LOCK) -> bool:
    """Whether a process works on this job now; with START, whether one was started that may."""
    if not (folder / name).exists():
        return False
    try:
        with FileLock(folder / name, timeout=0):
            return False
    except OSError:  # Timeout is one; so is a folder of somebody else's, of which nothing is known
        return True
