"""Interrupted and resumed runs, and their outcomes."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import kill_server
import psutil
import torch
from kill_points import Fault

from fcnexp.reporting.curves import read_metric

LIMIT = 120  # seconds for a training of half a second
TIMED = ("train_seconds", "images_per_second", "ms_per_image", "peak_memory", "command", "typed")


class Ended(NamedTuple):
    """End of a run. code: negative if a signal ended it."""

    code: int
    said: str


class Trainings:
    """A process that has imported everything and forks a process for each training."""

    def __init__(self, cache: Path) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "FCNEXP_CACHE": str(cache)}
        self.server = subprocess.Popen(
            [sys.executable, kill_server.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def run(
        self,
        overrides: Sequence[str],
        folder: Path,
        faults: Sequence[Fault] = (),
        *,
        processes: int = 1,
        fresh: bool = False,
    ) -> Ended:
        """Train in this folder until the end or a fault.

        fresh: in new processes that have imported nothing. Raises AssertionError if it takes too
        long, leaves processes behind, or no fault has occurred.
        """
        said, seen = folder / "said.txt", folder / "faults_seen"
        for file in (said, seen):
            file.unlink(missing_ok=True)
        job = {
            "overrides": list(overrides),
            "folder": str(folder),
            "environment": {"FAULTS": json.dumps(list(faults)), "FAULTS_SEEN": str(seen)},
            "processes": processes,
            "output": str(said),
            "fresh": fresh,
        }
        assert self.server.stdin
        self.server.stdin.write(json.dumps(job).encode() + b"\n")
        self.server.stdin.flush()
        session = self._answer(LIMIT)
        try:
            code = self._answer(LIMIT)
        except TimeoutError:
            end_session(session)
            self._answer(LIMIT)
            raise AssertionError(f"it does not end: {said.read_text()[-2000:]}") from None
        left = wait_for_end(session)
        assert not left, f"{left} are left over: {said.read_text()[-2000:]}"
        assert not faults or seen.exists(), f"no fault has occurred: {said.read_text()[-2000:]}"
        return Ended(code, said.read_text())

    def _answer(self, limit: float) -> int:
        assert self.server.stdout
        if not select.select([self.server.stdout], [], [], limit)[0]:
            raise TimeoutError
        return int(self.server.stdout.readline())


@contextmanager
def trainings(cache: Path) -> Iterator[Trainings]:
    """Start the process for the block."""
    made = Trainings(cache)
    try:
        yield made
    finally:
        assert made.server.stdin
        made.server.stdin.close()
        made.server.wait(LIMIT)


def of_session(number: int) -> list[psutil.Process]:
    """List the running processes of a session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            pass
    return found


def wait_for_end(session: int, limit: float = 60) -> list[str]:
    """Wait for the processes of a session; kill and name those that stay."""
    until = time.monotonic() + limit
    while (running := of_session(session)) and time.monotonic() < until:
        psutil.wait_procs(running, timeout=0.2)
    names = [" ".join(map(str, (each.pid, each.status()))) for each in running]
    end_session(session)
    return names


def end_session(session: int) -> None:
    for process in of_session(session):
        process.send_signal(signal.SIGKILL)


def outcome_of(folder: Path) -> dict[str, Any]:
    """Everything that must be bit-identical, by name, of a run and its stages."""
    found: dict[str, Any] = {}
    for part in (folder, *sorted((folder / "stages").glob("*"))):
        name = str(part.relative_to(folder))
        for file in sorted((part / "checkpoints").glob("*.ckpt")):
            if file.name != "previous.ckpt":
                stored = torch.load(file, weights_only=True)
                found |= flat({f"{name} {file.name}": stored})
        found[f"{name} confusion.csv"] = (part / "confusion.csv").read_text()
        found[f"{name} images.npz"] = (part / "images.npz").read_bytes()
        result = json.loads((part / "result.json").read_text())
        found |= {f"{name} result {k}": v for k, v in result.items() if k not in TIMED}
        found |= {f"{name} {key}": value for key, value in metrics(part).items()}
        for picture in sorted((part / "pictures").rglob("*.*")):
            found[f"{name} {picture.relative_to(part)}"] = picture.read_bytes()
    return found


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Flatten nested dicts and lists by dotted path; tensors become bytes."""
    if isinstance(value, torch.Tensor):
        return {path: (tuple(value.shape), str(value.dtype), value.numpy().tobytes())}
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list | tuple):
        inner = enumerate(value)
    else:
        return {path: value}
    return {name: leaf for key, each in inner for name, leaf in flat(each, f"{path}.{key}").items()}


def metrics(folder: Path) -> dict[str, Any]:
    """Logged training and validation metrics by name, as read for curves."""
    names: set[str] = set()
    for file in folder.glob("metrics*.csv"):
        names |= set(file.read_text().partition("\n")[0].strip().split(","))
    logged = sorted(name for name in names if name.startswith(("train/", "val/", "lr/")))
    return {name: read_metric(folder, name) for name in logged}


def differing(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Names of the values that differ between two runs."""
    names = [*first, *(name for name in second if name not in first)]
    gone = object()
    return [name for name in names if first.get(name, gone) != second.get(name, gone)]
