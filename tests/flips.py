"""Files with one flipped byte, and the outcome of reading each in a child process.

The child makes it possible to measure memory, and to kill a reader that hangs.
"""

import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcnexp.errors import UserError

FLIPS, SECONDS, BYTES = 2000, 5.0, 10**9  # number of cases; limits for each


class Seen(NamedTuple):
    """Outcome of some flips. bytes: memory that all reads together added to the process."""

    read: int
    refused: int
    slowest: float
    bytes: int
    wrong: list[str]

    def line(self) -> str:
        """The figures in one line."""
        return (
            f"{self.read + self.refused + len(self.wrong)} flips, {self.refused} refused, "
            f"{self.read} read correctly, {len(self.wrong)} wrong; slowest {self.slowest:.3f} s, "
            f"{self.bytes / 1e6:.0f} MB more at most"
        )


def flipped(whole: bytes, count: int, seed: int, first: int | None = None) -> Iterator[bytes]:
    """Yield `count` copies of a file with one byte changed, every other one in the `first` bytes.

    first: number of bytes that contain the file's structure; None for no preference.
    """
    rng = np.random.default_rng(seed)
    for i in range(count):
        content = bytearray(whole)
        end = len(whole) if first is None or i % 2 else min(first, len(whole))
        content[rng.integers(end)] ^= int(rng.integers(1, 256))
        yield bytes(content)


def read_all(
    path: Path,
    contents: Iterator[bytes],
    read: Callable[[Path], Any],
    right: Callable[[Any, bytes], bool],
) -> Seen:
    """Write each content to a path and read it in a child process.

    right: True if the result is correct for a content. A refusal must be a UserError that names
    the file.
    """
    ours, theirs = multiprocessing.get_context("fork").Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(
        target=_read_all, args=(path, contents, read, right, theirs)
    )
    child.start()
    theirs.close()
    try:
        while True:
            assert ours.poll(60), "a reader hangs"  # the child reports after each hundred
            found = ours.recv()
            if isinstance(found, Seen):
                return found
    finally:
        child.kill()
        child.join()


def _read_all(path: Path, contents: Any, read: Any, right: Any, report: Any) -> None:
    read_, refused, slowest, wrong = 0, 0, 0.0, []
    before = _most_bytes()
    for number, content in enumerate(contents):
        path.unlink(missing_ok=True)  # ext4 writes a new file many times faster than an old one
        path.write_bytes(content)
        start = time.monotonic()
        try:
            found = read(path)
        except UserError as error:
            refused += str(path) in str(error)
            if str(path) not in str(error):
                wrong.append(f"{number}: names no file: {error}")
        except Exception as error:  # a user would see a traceback
            wrong.append(f"{number}: {type(error).__name__}: {error}")
        else:
            good = right(found, content)
            read_ += good
            if not good:
                wrong.append(f"{number}: read, but incorrectly: {str(found)[:100]}")
        slowest = max(slowest, time.monotonic() - start)
        if number % 100 == 99:
            report.send(number)
    report.send(Seen(read_, refused, slowest, _most_bytes() - before, wrong))
    report.close()
    os._exit(0)  # the child must not run this process's exit handlers


def _most_bytes() -> int:
    """Peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
