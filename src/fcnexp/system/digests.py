"""Digests of files, remembered while a file's size and modification time stay the same."""

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from fcnexp.system.atomic import digest

REMEMBERED = "digests.db"  # in the cache folder
WAIT_SECONDS = 10.0  # for another process that writes there


def digests_of(paths: Iterable[str | Path]) -> dict[str, str | None]:
    """SHA-256 of each file by its path as given, None for one that cannot be read.

    Each is read once, whatever asks for it, as long as its size and time of change are the same.
    """
    try:
        home = Path(os.environ.get("FCNEXP_CACHE", "~/.cache/fcnexp")).expanduser()
        home.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(home / REMEMBERED, timeout=WAIT_SECONDS)) as known, known:
            known.execute("create table if not exists files (path primary key, state, digest)")
            return {str(path): _remembered(known, path) for path in paths}
    except (OSError, RuntimeError, sqlite3.Error):  # the cache folder is not ours, or damaged
        return {str(path): _digest(path) for path in paths}


def _remembered(known: sqlite3.Connection, path: str | Path) -> str | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    # The inode's time changes even if a tool sets the modification time back.
    state = f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"
    key = os.path.realpath(path)
    query = "select digest from files where path = ? and state = ?"
    row = known.execute(query, (key, state)).fetchone()
    if row is not None:
        return str(row[0])
    value = _digest(path)
    if value is not None:
        known.execute("insert or replace into files values (?, ?, ?)", (key, state, value))
    return value


def _digest(path: str | Path) -> str | None:
    with suppress(OSError, ValueError):
        return digest(Path(path))
    return None
