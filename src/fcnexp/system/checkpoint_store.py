"""Checkpoint files: written atomically, with SHA-256 digests, the previous one kept.

`SHA256SUMS` has the format of `sha256sum`, whose --check option verifies the folder.
"""

import hashlib
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from fcnexp.system.atomic import note_space, write_atomically
from fcnexp.system.os_errors import reraise_system_error

SUMS = "SHA256SUMS"
LAST = "last.ckpt"  # the newest weights, in a run's folder `checkpoints`
PREVIOUS = "previous.ckpt"  # the ones before
BEST = "best.ckpt"  # with keep_best=true: the ones with the highest mean IU


class _Hashed:
    """A file, for sequential writing only, with the digest of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def write(self, part: bytes) -> int:
        self.digest.update(part)
        return self.file.write(part)

    def flush(self) -> None:
        self.file.flush()


def store(path: Path, write: Callable[[Any], None], before: str | None = None) -> None:
    """Store a file atomically and record its digest.

    write: writes the content sequentially. before: new name for the present file; None replaces it.
    Whenever this is interrupted, one of the two files is complete and has its digest. Raises
    OSError, and whatever `write` raises; then nothing has changed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sums = _sums(path.parent)
    if left := [*path.parent.glob(f".{path.name}.*"), *path.parent.glob(f".part-*-{SUMS}")]:
        for each in left:
            each.unlink()
        # An interrupted call may have recorded the digest of a file that it never moved here.
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
            if path.name in sums:  # files of an earlier fcnexp have none
                sums[before] = sums[path.name]
        old = {partial.name: sums[path.name]} if before is None and path.name in sums else {}
        sums[path.name] = hashed.digest.hexdigest()
        _write_sums(path.parent, sums | old)  # the old file needs its digest until it is replaced
    except BaseException as error:
        note_space(error, path.parent)
        partial.unlink(missing_ok=True)
        raise
    if before is not None and path.is_file():
        os.replace(path, path.with_name(before))
    os.replace(partial, path)
    _sync_folder(path.parent)
    if old:
        _write_sums(path.parent, sums)


def is_intact(path: Path) -> bool:
    """Return True if a file is as it was written, by its digest or else the checksums of its zip.

    A file without a digest was moved here alone, or was written by an earlier fcnexp.
    """
    sums = _sums(path.parent)
    if path.name in sums:
        return _digest(path) in sums.values()  # it may have been renamed, see `store`
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception as error:  # zipfile raises many types
        reraise_system_error(error, memory=False)
        return False


def _digest(path: Path) -> str:
    state = path.stat()
    return _digest_once(path, state.st_ino, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _digest_once(path: Path, *state: int) -> str:
    """SHA-256 of a file, cached. state: changes whenever the file is written."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sums(folder: Path) -> dict[str, str]:
    """Read a folder's digests, by file name."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reraise_system_error(error)
        return {}
    pairs = [line.split("  ", 1) for line in lines]
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def _write_sums(folder: Path, sums: dict[str, str]) -> None:
    lines = (f"{digest}  {name}\n" for name, digest in sums.items())
    write_atomically(folder / SUMS, "".join(lines))


def _sync_folder(folder: Path) -> None:
    """Sync the names in a folder to disk, if the file system supports it."""
    with suppress(OSError):  # some file servers do not
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
