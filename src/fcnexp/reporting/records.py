"""Records of runs, found below folders and read back. Needs no torch."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fcnexp.errors import DataError
from fcnexp.reporting.record_checks import is_job, is_result, read_json, trouble_of_config
from fcnexp.system.os_errors import let_through

RESULT = "result.json"
CONFIG = "config.yaml"
JOB = "job.json"  # of a job of a sweep; see `read_job`, and `fcnexp.sweep.ledger`


class Run(NamedTuple):
    """A finished run: what it was told to do, and what came of it."""

    folder: Path
    config: dict[str, Any]
    result: dict[str, Any]


class Job(NamedTuple):
    """What a sweep noted of one of its jobs.

    state: running, done, failed or stopped (from outside). overrides: as typed. error: type,
    message and traceback of a failure. seconds: from start to end, None where it has not ended.
    """

    folder: Path
    state: str
    overrides: list[str]
    error: dict[str, str]
    host: str
    seconds: float | None


class Records(NamedTuple):
    """What lies below some folders.

    unfinished: begun, or broken off without a word. damaged: those of them that have a record which
    cannot be read, and what is to be said of it.
    """

    finished: list[Run]
    unfinished: list[Path]
    failed: list[Job]
    damaged: dict[Path, str]


def read_runs(folders: Sequence[Path]) -> Records:
    """Runs below these folders; a folder may itself be a run.

    In the order of the folders, below each by name, numbers by their value; each run once.
    Raises DataError where none is finished nor failed.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give one that holds runs, say outputs")
        for run in run_folders(folder):
            found.setdefault(run.resolve(), run)
    records = Records([], [], [], {})
    for run in found.values():
        try:
            job = read_job(run)
            if (run / RESULT).is_file():
                records.finished.append(read_run(run))
            elif job is not None and job.state == "failed":
                records.failed.append(job)
            else:
                records.unfinished.append(run)
        except DataError as error:
            records.unfinished.append(run)
            records.damaged[run] = str(error)
    if not records.finished and not records.failed:
        if records.damaged:
            raise DataError("; ".join(records.damaged.values()))
        begun = f"; {len(found)} begun, none finished" if found else ""
        raise DataError(
            f"{', '.join(map(str, folders))}: no finished run below{begun}; one is a folder with "
            f"{CONFIG} and {RESULT}, as train writes them: outputs/train/DATE, outputs/sweep/NAME"
        )
    return records


def run_folders(folder: Path) -> Iterator[Path]:
    """Folders of runs below a folder, itself included, finished or not; not the stages of a run."""
    if (folder / CONFIG).is_file() or (folder / JOB).is_file():
        yield folder
        return
    try:
        with os.scandir(folder) as entries:
            below = [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError as error:
        let_through(error)
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from None
    for inner in sorted(below, key=_by_number):
        if inner.name != "wandb":  # its copies of configs are no runs
            yield from run_folders(inner)


def read_job(folder: Path) -> Job | None:
    """What a sweep noted of the job of this folder; None where it is no sweep's.

    Raises DataError where the note is damaged.
    """
    try:
        noted = read_json(folder / JOB)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as trouble:
        let_through(trouble)
        noted = {}
    if not is_job(noted):
        raise DataError(f"{folder / JOB}: damaged; remove it to leave this job out")
    error = noted.get("error") or {}
    return Job(
        folder,
        state=str(noted["state"]),
        overrides=[str(override) for override in noted.get("overrides") or ()],
        error={name: str(error.get(name) or "") for name in ("type", "message", "traceback")},
        host=str(noted.get("host") or ""),
        seconds=noted.get("seconds"),
    )


def read_run(folder: Path) -> Run:
    """The record of a finished run. Raises DataError where it is damaged."""
    result = read_result(folder)
    file = folder / CONFIG
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{file}: missing; remove {folder} to leave this run out") from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        let_through(error)
        config = None
    if trouble := trouble_of_config(config):
        raise DataError(f"{file}: {trouble}; remove it to leave this run out")
    return Run(folder, config, result)


def read_result(folder: Path) -> dict[str, Any]:
    """What result.json holds.

    Raises DataError where it is damaged, FileNotFoundError where it is missing.
    """
    try:
        result = read_json(folder / RESULT)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        let_through(error)
        result = {}
    if not is_result(result):
        raise DataError(f"{folder / RESULT}: damaged; remove it to leave this run out")
    return result


def _by_number(path: Path) -> tuple[bool, int, str]:
    """Of a sweep's job its place in the sweep; of another run its name, if that is a number."""
    try:
        number = int(read_json(path / JOB)["number"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        number = int(path.name) if path.name.isdecimal() else -1
    return (number < 0, number, path.name)
