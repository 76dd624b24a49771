"""Files of checkpoints: there whole or not at all, their digests beside them, the one before kept.

`SHA256SUMS` is in the form of `sha256sum`, which can check a folder by it.
"""

import hashlib
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from fcnexp.system.atomic import write_atomically
from fcnexp.system.os_errors import let_through

SUMS = "SHA256SUMS"
LAST = "last.ckpt"  # the weights as they were stored last, in a run's folder `checkpoints`
PREVIOUS = "previous.ckpt"  # those before
BEST = "best.ckpt"  # with keep_best=true: those of the highest mean IU


class _Hashed:
    """As much of a file as writing it from its beginning to its end takes, and its digest."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def write(self, part: bytes) -> int:
        self.digest.update(part)
        return self.file.write(part)

    def flush(self) -> None:
        self.file.flush()


def store(path: Path, write: Callable[[Any], None], before: str | None = None) -> None:
    """Put a file in its place, whole, once it is on the disk, with its digest beside it.

    write: writes it, from its beginning to its end. before: name that the file which is there now
    gets; None to lose it. Wherever this is broken off, one of the two is there and has its digest.
    Raises OSError, and whatever `write` raises; then nothing has changed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sums = _sums(path.parent)
    if left := [*path.parent.glob(f".{path.name}.*"), *path.parent.glob(f".part-*-{SUMS}")]:
        for each in left:
            each.unlink()
        # Who left them may have noted the digest of what was never put there.
        real = _digest(path) if path.is_file() else ""
        known = real in sums.values()
        sums.pop(path.name, None)
        if known:
            sums[path.name] = real
    sums = {name: digest for name, digest in sums.items() if not name.startswith(".")}  # see `old`
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            hashed = _Hashed(file)
            write(hashed)
            file.flush()
            os.fsync(file.fileno())
        if before is not None and path.is_file():
            sums.pop(before, None)
            if path.name in sums:  # else it is an earlier fcnexp's, and has none
                sums[before] = sums[path.name]
        old = {partial.name: sums[path.name]} if before is None and path.name in sums else {}
        sums[path.name] = hashed.digest.hexdigest()
        _note(path.parent, sums | old)  # until it is replaced the old one needs its digest
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if before is not None and path.is_file():
        os.replace(path, path.with_name(before))
    os.replace(partial, path)
    _to_disk(path.parent)
    if old:
        _note(path.parent, sums)


def is_whole(path: Path) -> bool:
    """Whether a file is as it was written: by its digest, or the checksums that zip files have.

    It need not have a digest: it may have been moved here alone, or be of an earlier fcnexp.
    """
    sums = _sums(path.parent)
    if path.name in sums:
        return _digest(path) in sums.values()  # its name may have been another, see `store`
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception as error:  # zipfile's many types
        let_through(error, memory=False)
        return False


def _digest(path: Path) -> str:
    state = path.stat()
    return _digest_once(path, state.st_ino, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _digest_once(path: Path, *state: int) -> str:
    """A file's SHA-256. state: what changes when it is written; large files are read often."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sums(folder: Path) -> dict[str, str]:
    """Digest of each file that a folder has one of, by name."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        let_through(error)
        return {}
    pairs = [line.split("  ", 1) for line in lines]
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def _note(folder: Path, sums: dict[str, str]) -> None:
    lines = (f"{digest}  {name}\n" for name, digest in sums.items())
    write_atomically(folder / SUMS, "".join(lines))


def _to_disk(folder: Path) -> None:
    """Make the names in a folder outlast a power cut, where the system lets one."""
    with suppress(OSError):  # some file servers do not
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
