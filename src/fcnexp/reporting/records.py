"""Find run folders and read their records. Does not import torch."""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from fcnexp.errors import DataError
from fcnexp.reporting.record_checks import config_problem, is_job, is_result, read_json
from fcnexp.system.bounded import read_yaml
from fcnexp.system.os_errors import reraise_system_error

RESULT = "result.json"
CONFIG = "config.yaml"
CONFUSION = "confusion.csv"
PRUNED = "pruned"  # begins the reason for which such a run stopped early
JOB = "job.json"  # written by a sweep for each of its jobs; see `fcnexp.sweep.ledger`


class Run(NamedTuple):
    """A finished run: its resolved config and the contents of result.json."""

    folder: Path
    config: dict[str, Any]
    result: dict[str, Any]


class Job(NamedTuple):
    """Record of one sweep job, from job.json.

    state: running, done, failed or stopped (by a signal). overrides: as typed. error: type, message
    and traceback of a failure. seconds: from start to end, None if the job has not ended.
    """

    folder: Path
    state: str
    overrides: list[str]
    error: dict[str, str]
    host: str
    seconds: float | None


class Confusion(NamedTuple):
    """Class names and pixel counts; rows are ground truth, columns are predictions."""

    names: list[str]
    counts: list[list[int]]


class Records(NamedTuple):
    """Runs found below some folders.

    finished: without those that a search pruned, unless there are no others. unfinished: started,
    but without a result or a recorded failure. damaged: the unfinished runs whose record cannot be
    read, each with the error message.
    """

    finished: list[Run]
    unfinished: list[Path]
    failed: list[Job]
    damaged: dict[Path, str]
    pruned: list[Run]


def read_runs(folders: Sequence[Path]) -> Records:
    """Read the runs below these folders; a folder may itself be a run.

    Ordered by folder, then by name with numbers sorted by value; each run appears once.
    Raises DataError if no run is finished or failed.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give one that holds runs, such as outputs")
        for run in run_folders(folder):
            found.setdefault(run.resolve(), run)
    records = Records([], [], [], {}, [])
    for run in found.values():
        try:
            job = read_job(run)
            if (run / RESULT).is_file():
                read = read_run(run)
                early = str(read.result.get("stopped_early") or "")
                (records.pruned if early.startswith(PRUNED) else records.finished).append(read)
            elif job is not None and job.state == "failed":
                records.failed.append(job)
            else:
                records.unfinished.append(run)
        except DataError as error:
            records.unfinished.append(run)
            records.damaged[run] = str(error)
    if not records.finished:
        records.finished.extend(records.pruned)
        records.pruned.clear()
    if not records.finished and not records.failed:
        if records.damaged:
            raise DataError("; ".join(records.damaged.values()))
        started = f" ({len(found)} started)" if found else ""
        raise DataError(
            f"{', '.join(map(str, folders))}: no finished run found{started}; a finished run has "
            f"{CONFIG} and {RESULT}; give a folder that train wrote, such as outputs/train/DATE or "
            "outputs/sweep/NAME"
        )
    return records


def run_folders(folder: Path) -> Iterator[Path]:
    """Yield all run folders at or below a folder, finished or not, but not the stages of a run."""
    if (folder / CONFIG).is_file() or (folder / JOB).is_file():
        yield folder
        return
    try:
        with os.scandir(folder) as entries:
            below = [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError as error:
        reraise_system_error(error)
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from None
    for inner in sorted(below, key=_by_number):
        if inner.name != "wandb":  # W&B stores copies of configs there
            yield from run_folders(inner)


def read_job(folder: Path) -> Job | None:
    """Read job.json; None if the folder is not a sweep job. Raises DataError if it is damaged."""
    try:
        record = _read_valid(folder / JOB, is_job, "job")
    except FileNotFoundError:
        return None
    error = record.get("error") or {}
    return Job(
        folder,
        state=str(record["state"]),
        overrides=[str(override) for override in record.get("overrides") or ()],
        error={name: str(error.get(name) or "") for name in ("type", "message", "traceback")},
        host=str(record.get("host") or ""),
        seconds=record.get("seconds"),
    )


def read_run(folder: Path) -> Run:
    """Read the record of a finished run. Raises DataError if it is damaged."""
    result = read_result(folder)
    file = folder / CONFIG
    try:
        config = read_yaml(file)
    except FileNotFoundError:
        raise DataError(f"{file}: missing; remove {folder} to leave this run out") from None
    except (OSError, ValueError) as error:
        reraise_system_error(error)
        config = None
    if problem := config_problem(config):
        raise DataError(f"{file}: {problem}; remove it to leave this run out")
    return Run(folder, config, result)


def read_result(folder: Path) -> dict[str, Any]:
    """Contents of result.json. Raises DataError if it is damaged, FileNotFoundError."""
    return _read_valid(folder / RESULT, is_result, "run")


def further_tasks(folder: Path) -> list[str]:
    """Names of a run's tasks but the first; empty without a valid result.json."""
    with suppress(FileNotFoundError, DataError):
        return list(read_result(folder).get("tasks", {}))
    return []


def read_confusion(folders: Sequence[Path]) -> Confusion | None:
    """Sum of all matrices with the same classes as the first; None if no run has one.

    Raises DataError if a file is damaged.
    """
    matrices = [m for folder in folders if (m := _read_matrix(folder / CONFUSION))]
    if not matrices:
        return None
    names = matrices[0].names
    same = [matrix.counts for matrix in matrices if matrix.names == names]
    rows = zip(*same, strict=True)
    return Confusion(names, [[sum(cells) for cells in zip(*row, strict=True)] for row in rows])


def _read_matrix(path: Path) -> Confusion | None:
    """Matrix of one run; None if the file is missing. Raises DataError if it is damaged."""
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
        counts = [[int(cell) for cell in line[1:]] for line in lines[1:]]
    except (OSError, ValueError, csv.Error) as error:
        reraise_system_error(error)
        lines, counts = [], []
    names = lines[0][1:] if lines else []
    valid = (
        bool(names)
        and [line[:1] for line in lines[1:]] == [[name] for name in names]
        and all(len(c) == len(names) and min(c) >= 0 for c in counts)
        and sum(map(sum, counts)) < 2**63  # counts are int64
    )
    if not valid:
        raise DataError(f"{path}: damaged; remove it and score the run again with evaluate")
    return Confusion(names, counts)


def _read_valid(file: Path, is_valid: Callable[..., bool], what: str) -> dict[str, Any]:
    """Read a valid JSON record. Raises DataError if it is damaged, FileNotFoundError."""
    try:
        record = read_json(file)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        reraise_system_error(error)
        record = {}
    if not is_valid(record):
        raise DataError(f"{file}: damaged; remove it to leave this {what} out")
    return record


def _by_number(path: Path) -> tuple[bool, int, str]:
    """Sort key: the job's number in its sweep, else the folder name as a number, else the name."""
    try:
        number = int(read_json(path / JOB)["number"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        number = int(path.name) if path.name.isdecimal() else -1
    return (number < 0, number, path.name)


def percent(fraction: float | None) -> str:
    """A fraction as percent with one decimal; `-` for None."""
    return "-" if fraction is None else f"{100 * fraction:.1f}"
