"""Launches of a sweep: each is one command and the outcomes of its jobs.

An environment variable tells processes which launch they belong to. `launches/ID.json` in the
sweep's folder holds the command for `resume`. While the launch runs, `launches/ID.jobs/` holds a
note on each job, which all its processes can read.
"""

import hashlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from fcnexp.errors import DataError
from fcnexp.reporting.record_checks import read_json
from fcnexp.sweep import untrusted
from fcnexp.system.atomic import write_atomically

LAUNCH = "FCNEXP_LAUNCH"  # environment: the launch's file
RESUMED = "FCNEXP_RESUMED"  # environment: the command, as JSON, that a launch repeats
FOLDER = "launches"
TRAIN = ["python", "-m", "fcnexp.train"]  # start of every command
MULTIRUN = "multirun.yaml"  # Hydra's own record of the last launch

_unwritten: dict[Path, "Note"] = {}  # notes that could not be written to disk


class Note(NamedTuple):
    """Outcome of a job in a launch.

    outcome: begun, now (done by this launch), before (done earlier), elsewhere (another launch runs
    it), failed, stopped (by a signal), skipped, or queued (in Slurm).
    number: the job's place in the launch.
    """

    number: int
    folder: Path
    overrides: list[str]
    outcome: str


class Launch(NamedTuple):
    """One command. file: launches/ID.json in the sweep's folder."""

    file: Path

    @property
    def sweep(self) -> Path:
        """The sweep's folder."""
        return self.file.parent.parent

    def note(self, note: Note) -> None:
        """Record a job's outcome for the launch; if the disk is full, only in this process."""
        before = self.find(note.folder)
        if before is not None and before.number != note.number and before.outcome != "begun":
            return  # the same job twice in one launch: the first counts
        file = self._note_on(note.folder)
        content = note._replace(folder=str(note.folder))._asdict()  # type: ignore[arg-type]
        try:
            self._notes.mkdir(parents=True, exist_ok=True)
            write_atomically(file, json.dumps(content))
            _unwritten.pop(file, None)
        except OSError:
            _unwritten[file] = note

    def find(self, folder: Path) -> Note | None:
        """This launch's note on a job, or None."""
        file = self._note_on(folder)
        return _unwritten.get(file) or _read_note(file)

    def notes(self) -> list[Note]:
        """All notes, in the order of the jobs."""
        read = {file: _read_note(file) for file in self._notes.glob("*.json")}
        mine = {file: note for file, note in _unwritten.items() if file.parent == self._notes}
        return sorted(note for note in (read | mine).values() if note is not None)

    def close(self) -> None:
        """Remove the notes; the ledger keeps the permanent records."""
        shutil.rmtree(self._notes, ignore_errors=True)
        for file in [file for file in _unwritten if file.parent == self._notes]:
            del _unwritten[file]

    def forget(self) -> None:
        """Remove the files of a launch without jobs, and the sweep's folder if it is empty."""
        self.close()
        self.file.unlink(missing_ok=True)
        left = {path.name for path in self.sweep.iterdir()} if self.sweep.is_dir() else {""}
        if left <= {FOLDER, MULTIRUN} and not any(self.file.parent.glob("*")):
            shutil.rmtree(self.sweep)

    @property
    def _notes(self) -> Path:
        return self.file.with_suffix(".jobs")

    def _note_on(self, folder: Path) -> Path:
        return self._notes / f"{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}.json"


def start(sweep: Path, argv: Sequence[str], *, lasting: bool = True) -> Launch:
    """Begin a launch and announce it to child processes.

    argv: the command; under `resume`, the original command is recorded instead. lasting: False
    writes no file.
    """
    now = datetime.now(UTC)
    name = f"{now:%Y-%m-%d_%H-%M-%S}_{uuid.uuid4().hex[:8]}"
    launch = Launch(sweep.resolve() / FOLDER / f"{name}.json")
    resumed = json.loads(os.environ.pop(RESUMED, "{}"))
    content = {"argv": list(argv), "cwd": os.getcwd()} | resumed
    content["started"] = now.isoformat(timespec="seconds")
    if lasting:
        launch.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(launch.file, json.dumps(content, indent=2) + "\n")
    os.environ[LAUNCH] = str(launch.file)
    return launch


def current() -> Launch | None:
    """Launch that this process belongs to, or None."""
    file = os.environ.get(LAUNCH)
    return Launch(Path(file)) if file else None


def typed() -> list[str]:
    """Command that the user typed for this training; in a sweep, that of the launch."""
    launch = current()
    try:
        if launch is not None:
            return list(json.loads(launch.file.read_text(encoding="utf-8"))["argv"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # removed meanwhile; this process's arguments are equivalent, only longer
    return ["python", "-m", "fcnexp.train", *sys.argv[1:]]


def resuming(argv: Sequence[str], cwd: str) -> dict[str, str]:
    """Environment for a process that repeats a launch's command."""
    return os.environ | {RESUMED: json.dumps({"argv": list(argv), "cwd": cwd})}


def commands(sweep: Path) -> list[tuple[list[str], str]]:
    """List the distinct commands of a sweep's launches, oldest first: argv and working directory.

    Raises DataError if one would start another program, or could run other people's code.
    """
    found: dict[tuple[tuple[str, ...], str], None] = {}
    for file in sorted((sweep / FOLDER).glob("*.json")):
        try:
            stored = read_json(file)
            argv, cwd = stored["argv"], stored["cwd"]
        except (OSError, ValueError, KeyError):
            continue  # an incomplete record: the launch was killed while writing it
        words = isinstance(argv, list) and all(isinstance(word, str) for word in [*argv, cwd])
        if not words or argv[: len(TRAIN)] != TRAIN:
            shown = untrusted.printable(str(file))
            raise DataError(f"{shown}: its argv must start with {' '.join(TRAIN)}; remove the file")
        untrusted.refuse(file, argv[len(TRAIN) :], cwd)
        found[tuple(argv), cwd] = None
    return [(list(argv), cwd) for argv, cwd in found]


def _read_note(file: Path) -> Note | None:
    try:
        stored = read_json(file)
        return Note(**(stored | {"folder": Path(stored["folder"])}))
    except (OSError, ValueError, KeyError, TypeError):
        return None
