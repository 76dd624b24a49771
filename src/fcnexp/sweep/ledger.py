"""The ledger of a sweep: the state of each job, in the job's own folder.

`job.json` holds a job's state, and a process holds the lock `job.lock` while it works on the job.
The kernel releases the lock however the process ends, so a job recorded as running whose lock is
free is stale.
"""

import json
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fcnexp import __version__
from fcnexp.errors import DataError
from fcnexp.reporting.record_checks import is_job, read_json
from fcnexp.reporting.records import JOB, read_result
from fcnexp.run.locks import START, FolderError, claim, is_held
from fcnexp.system.atomic import write_atomically
from fcnexp.system.os_errors import reraise_system_error

Failure = dict[str, str | None]  # type, message, traceback
STATES = ("done", "stopped", "failed", "stale", "running", "queued", "cancelled", "not started")


@dataclass(frozen=True)
class Record:
    """Content of `job.json`. state: running, done, failed or stopped (by a signal).

    attempts: number of starts; started, ended: ISO 8601, UTC; seconds: of the last attempt.
    error: type, message and traceback, which is None for a user's mistake.
    number: place in its launch, by which reports order rows.
    """

    digest: str
    number: int
    state: str
    overrides: list[str]
    attempts: int
    host: str
    pid: int
    started: str
    ended: str | None
    seconds: float | None
    error: Failure | None
    version: str


def read(folder: Path) -> Record | None:
    """Read the record of a job; None if there is none, or it is damaged."""
    try:
        stored = read_json(folder / JOB)
        record = Record(**{field.name: stored[field.name] for field in fields(Record)})
        return record if is_job(stored) and _is_valid(record) else None
    except (OSError, ValueError, KeyError) as error:
        reraise_system_error(error)  # the job may be done
        return None


def _is_valid(record: Record) -> bool:
    texts = (record.digest, record.host, record.started, record.version)
    counts = (record.number, record.attempts, record.pid)
    datetime.fromisoformat(str(record.started))  # raises ValueError
    valid = all(isinstance(text, str) for text in texts) and isinstance(record.ended, str | None)
    return valid and all(type(n) is int for n in counts) and isinstance(record.overrides, list)


def state_of(folder: Path) -> str:
    """Return the job's state, one of `STATES`, but not queued or cancelled: see `queued`."""
    record = read(folder)
    if record is None and not (folder / JOB).exists():
        return "not started"
    if record is None or record.state == "running":
        return "running" if is_held(folder) else "stale"
    if record.state == "done":
        return "done" if result_of(folder) else "stale"
    return "stopped" if record.state == "stopped" else "failed"


def result_of(folder: Path, digest: str | None = None) -> dict[str, Any] | None:
    """Result of a job that is done, otherwise None.

    Raises FolderError if the folder belongs to a job with another digest.
    """
    record = read(folder)
    if record is None:
        return None
    if digest is not None and record.digest != digest:
        raise FolderError(
            f"{folder}: holds another job ({' '.join(record.overrides)}); do not set "
            "hydra.sweep.subdir, or choose another hydra.sweep.dir"
        )
    if record.state != "done":
        return None
    try:
        return read_result(folder)
    except (FileNotFoundError, DataError):
        return None


def begin(folder: Path, digest: str, number: int, overrides: Sequence[str]) -> Record:
    """Record that this process works on a job from now on. Call while holding the lock."""
    before = read(folder)
    record = Record(
        digest=digest,
        number=number,
        state="running",
        overrides=list(overrides),
        attempts=1 + (before.attempts if before else 0),
        host=socket.gethostname(),
        pid=os.getpid(),
        started=datetime.now(UTC).isoformat(timespec="milliseconds"),
        ended=None,
        seconds=None,
        error=None,
        version=__version__,
    )
    return _write(folder, record)


def end(
    folder: Path, record: Record, error: Failure | None = None, *, stopped: bool = False
) -> Record:
    """Record that a job has ended: done, or failed with the error.

    stopped: a signal ended it; its checkpoints are good.
    """
    now = datetime.now(UTC)
    seconds = (now - datetime.fromisoformat(record.started)).total_seconds()
    changes = {
        "state": "stopped" if stopped else "failed" if error else "done",
        "ended": now.isoformat(timespec="milliseconds"),
        "seconds": round(max(seconds, 0), 1),  # negative if the clock was set back meanwhile
        "error": error,
    }
    return _write(folder, Record(**(asdict(record) | changes)))


def job_folders(folder: Path) -> Iterator[Path]:
    """Yield the job folders below a folder, including itself, sorted by name."""
    for path, inner, files in os.walk(folder):
        inner.sort()
        if JOB in files:
            inner.clear()  # jobs are not nested
            yield Path(path)


def remove(folder: Path) -> bool:
    """Remove the folder of a failed or stale job; return True if it was one."""
    if not (folder / JOB).exists():  # another process has removed it, or it is not a job
        return False
    with claim(folder) as mine:
        record = read(folder)
        kept = record is not None and (record.state == "stopped" or result_of(folder) is not None)
        bad = mine and not kept and not is_held(folder, START)
        if bad:
            shutil.rmtree(folder.resolve())  # it refuses a link
            if folder.is_symlink():
                folder.unlink()
        return bad


def _write(folder: Path, record: Record) -> Record:
    write_atomically(folder / JOB, json.dumps(asdict(record), indent=2) + "\n")
    return record
