"""Files that are there whole or not at all, whatever ends the process that writes them."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fcnexp.errors import ConfigError


@contextmanager
def whole(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """A place to write to, which becomes the file when the block has gone well, else is removed.

    It lies beside the file, in the same folder, and its name ends alike: by that, libraries choose
    a format. lasting: have it on the disk before the file that was there is replaced, so that not
    even a power cut leaves half of it.
    """
    part = path.with_name(f".part-{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield part
        if lasting:
            sync(part)
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):  # of a disk that takes nothing more; the first error is the reason
            part.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, text: str) -> None:
    """Write a text, in UTF-8, its line ends as they are."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def sync(path: Path) -> None:
    """Wait until what was written to a file is on the disk."""
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
