"""Real resource limits for the duration of a block."""

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def limited(what: int, value: int) -> Iterator[None]:
    """Set a limit of this process, such as `resource.RLIMIT_FSIZE`, the bytes of a file."""
    before = resource.getrlimit(what)
    resource.setrlimit(what, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


def open_files() -> int:
    """Lowest free file descriptor."""
    place = os.open("/", os.O_RDONLY)
    os.close(place)
    return place


def memory_in_use() -> int:
    """Bytes that count for `resource.RLIMIT_DATA`."""
    (line,) = [w for w in Path("/proc/self/status").read_text().splitlines() if "VmData" in w]
    return 1024 * int(line.split()[1])


class SmallDisk:
    """A disk of 64 MiB; `leave` sets its free bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ballast = folder, folder / "ballast"

    def leave(self, left: int | None) -> None:
        """Leave this many bytes free; None frees all."""
        self.ballast.unlink(missing_ok=True)
        if left is not None:
            size = shutil.disk_usage(self.folder).free - left
            with self.ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size // 4096 * 4096)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount a small disk; skips the test if that is not permitted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a disk")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def closed(folder: Path) -> Iterator[None]:
    """Make a folder unwritable, even for root; skips the test if that is impossible."""
    if os.geteuid():
        folder.chmod(0o555)
    elif subprocess.run(["chattr", "+i", str(folder)], capture_output=True).returncode:
        pytest.skip("root may write everywhere on a file system without chattr +i")
    try:
        yield
    finally:
        if os.geteuid():
            folder.chmod(0o755)
        else:
            subprocess.run(["chattr", "-i", str(folder)], check=True)
