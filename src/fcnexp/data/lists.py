"""Lists of images: text files with one image per line."""

import codecs
from pathlib import Path

from fcnexp.errors import DataError
from fcnexp.system.os_errors import reraise_system_error

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_ids(path: Path) -> list[str]:
    """Ids of a split file, one per line (a second column is ignored, as in VOC's class lists).

    Raises DataError if the list is missing, empty, not text, repeats an id, or names a folder.
    """
    ids = [line.split()[0] for line in read_lines(path)]
    for name in ids:
        if "/" in name or "\\" in name:  # would hide that two lists share an image
            raise DataError(
                f"{path}: {name} has a folder; list image ids, file names without folder and "
                "extension"
            )
        if name in (".", ".."):
            raise DataError(f"{path}: {name} is not a file name; list one image id per line")
    refuse_repeated(ids, path)
    return ids


def read_lines(path: Path, what: str = "list one image id per line") -> list[str]:
    """Stripped lines of a list, without blank lines and byte order mark.

    UTF-8, or the UTF-16 of Windows with its mark. what: advice. Raises DataError if the file is
    missing, empty or not text.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise DataError(f"{path}: not a regular file; {what}")
    try:
        content = path.read_bytes()
        text = content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    except OSError as error:
        reraise_system_error(error)
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if "\0" in text:
        raise DataError(f"{path}: not a UTF-8 text file; {what}")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{path}: the list is empty; {what}")
    return lines


def refuse_repeated(ids: list[str], path: Path) -> None:
    """Raise DataError if a list names an image twice."""
    if len(set(ids)) < len(ids):
        twice = next(name for i, name in enumerate(ids) if name in ids[:i])
        raise DataError(f"{path}: {twice} is listed twice; remove one of the lines")
