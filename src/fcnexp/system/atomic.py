"""Atomic writes: a file is complete or absent, whatever ends the process that writes it."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fcnexp.errors import ConfigError


@contextmanager
def atomic_file(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """Yield a path to write to; it replaces the file if the block succeeds, else it is removed.

    It lies in the same folder and has the same suffix, by which libraries choose a format. lasting:
    sync it to disk before it replaces the file, so that even a power cut leaves no partial file.
    """
    part = path.with_name(f".part-{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield part
        if lasting:
            sync(part)
        os.replace(part, path)
    except BaseException as error:
        note_space(error, path.parent)
        with suppress(OSError):  # the disk may refuse this as well; report the first error
            part.unlink(missing_ok=True)
        raise


def note_space(error: BaseException, folder: Path) -> None:
    """Note in an OSError how many bytes the disk has left, before a partial file is removed."""
    if isinstance(error, OSError):
        with suppress(OSError):
            error.space_left = shutil.disk_usage(folder).free  # type: ignore[attr-defined]


def write_atomically(path: Path, text: str) -> None:
    """Write a text in UTF-8 without changing its line ends."""
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def sync(path: Path) -> None:
    """Wait until a file's content is on disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def make_folder(output: Path) -> None:
    """Create the folder of the results. Raises ConfigError if that fails."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"output={output}: cannot create this folder ({error.strerror}); choose another"
        ) from None


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.expanduser().open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
