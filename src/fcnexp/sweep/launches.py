"""Launches of a sweep: one command, and which jobs it is about.

The processes of a launch know it by an environment variable. It keeps `launches/ID.json` in the
sweep's folder, from which the command can be given again, and while it lasts `launches/ID.jobs/`
with a note on each job, by which any of its processes can tell the others something.
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
RESUMED = "FCNEXP_RESUMED"  # environment: the command, as JSON, that a launch gives again
FOLDER = "launches"
TRAIN = ["python", "-m", "fcnexp.train"]  # what every command begins with
MULTIRUN = "multirun.yaml"  # Hydra's own record of the last launch

_unwritten: dict[Path, "Note"] = {}  # notes of this process that the disk has not taken


class Note(NamedTuple):
    """What a launch has done with a job.

    outcome: begun, now (it ran and is done), before (it was done), elsewhere (another launch has
    it), failed, stopped (from outside), or skipped. number: the job's place in the launch.
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
        """Tell all of this launch what is done with a job; a full disk keeps it in this process."""
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
        """What this launch has done with a job, if anything."""
        file = self._note_on(folder)
        return _unwritten.get(file) or _read_note(file)

    def notes(self) -> list[Note]:
        """What is known of each job, in their order."""
        read = {file: _read_note(file) for file in self._notes.glob("*.json")}
        mine = {file: note for file, note in _unwritten.items() if file.parent == self._notes}
        return sorted(note for note in (read | mine).values() if note is not None)

    def close(self) -> None:
        """Remove the notes; what is to last is in the ledger."""
        shutil.rmtree(self._notes, ignore_errors=True)
        for file in [file for file in _unwritten if file.parent == self._notes]:
            del _unwritten[file]

    def forget(self) -> None:
        """Remove every trace of a launch that ran nothing, and of a sweep that holds nothing."""
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
    """Begin a launch, and let the processes that this one starts know of it.

    argv: the command, to give it again; that of `resume` is recorded as what it resumes. lasting:
    False writes nothing.
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
    """The launch that this process belongs to."""
    file = os.environ.get(LAUNCH)
    return Launch(Path(file)) if file else None


def typed() -> list[str]:
    """The command by which this process trains: of its launch, where it is one of a sweep's."""
    launch = current()
    try:
        if launch is not None:
            return list(json.loads(launch.file.read_text(encoding="utf-8"))["argv"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # removed meanwhile; what this process was told says the same at more length
    return ["python", "-m", "fcnexp.train", *sys.argv[1:]]


def resuming(argv: Sequence[str], cwd: str) -> dict[str, str]:
    """The environment of a process that gives a command of a launch again."""
    return os.environ | {RESUMED: json.dumps({"argv": list(argv), "cwd": cwd})}


def commands(sweep: Path) -> list[tuple[list[str], str]]:
    """The commands of a sweep's launches, each once, oldest first: argv, and where it was given.

    Raises DataError on one that would start another program, or could run others' code.
    """
    found: dict[tuple[tuple[str, ...], str], None] = {}
    for file in sorted((sweep / FOLDER).glob("*.json")):
        try:
            stored = read_json(file)
            argv, cwd = stored["argv"], stored["cwd"]
        except (OSError, ValueError, KeyError):
            continue  # half a record: the launch was killed while writing it
        words = isinstance(argv, list) and all(isinstance(word, str) for word in [*argv, cwd])
        if not words or argv[: len(TRAIN)] != TRAIN:  # `resume` gives it again
            shown = untrusted.printable(str(file))
            raise DataError(f"{shown}: its argv is no command of {' '.join(TRAIN)}; remove it")
        untrusted.refuse(file, argv[len(TRAIN) :], cwd)
        found[tuple(argv), cwd] = None
    return [(list(argv), cwd) for argv, cwd in found]


def _read_note(file: Path) -> Note | None:
    try:
        stored = read_json(file)
        return Note(**(stored | {"folder": Path(stored["folder"])}))
    except (OSError, ValueError, KeyError, TypeError):
        return None
