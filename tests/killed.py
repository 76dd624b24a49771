"""The training program, with faults planted at named places: each strikes there, not after a time.

`FAULTS='[["backward", 3, "kill"]]' python killed.py OVERRIDES` is `python -m fcnexp.train
OVERRIDES`, killed when it has come to "backward" for the third time; see `DEEDS` for what else
there is. A fourth entry is the rank of the process that is struck, 0 where it is left out. The file
FAULTS_SEEN, if that is set, gets a line for each fault that has struck.

Without overrides it serves: see `serve`. A process that is forked has imported all there is.
"""

import atexit
import csv
import errno
import functools
import io
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

reached: Counter[str] = Counter()  # how often this process has come to each place


def _signal_to_group(number: int) -> None:
    """What a terminal does on Ctrl-C: all processes of the command hear of it."""
    os.killpg(os.getpgrp(), number)


def _break(kind: int) -> None:
    raise OSError(kind, os.strerror(kind), "planted")


def _spoil() -> None:
    with open("out/checkpoints/last.ckpt", "r+b") as file:
        file.seek(1000)
        file.write(b"spoilt")


DEEDS: dict[str, Callable[[], Any]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "kill all": lambda: _signal_to_group(signal.SIGKILL),
    "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "term all": lambda: _signal_to_group(signal.SIGTERM),
    "ctrl-c": lambda: _signal_to_group(signal.SIGINT),
    "error": lambda: _break(errno.EIO),
    "full": lambda: _break(errno.ENOSPC),
    "spoil": _spoil,
}


def reach(place: str) -> None:
    """Do what is planned for this place, if it is this process's turn."""
    reached[place] += 1
    for where, number, deed, *rank in json.loads(os.environ.get("FAULTS", "[]")):
        own = int(os.environ.get("LOCAL_RANK", "0")) == (rank or [0])[0]
        if own and (where, number) == (place, reached[place]):
            if seen := os.environ.get("FAULTS_SEEN"):
                with open(seen, "a") as file:
                    file.write(f"{place} {number} {deed}\n")
            DEEDS[deed]()


def around(
    owner: Any, name: str, *, before: str | None = None, after: str | None = None
) -> Callable[..., Any]:
    """Make places of the beginning and the end of a function or method; returns it as it was."""
    own = getattr(owner, name)

    @functools.wraps(own)
    def passing(*arguments: Any, **settings: Any) -> Any:
        if before:
            reach(before)
        came = own(*arguments, **settings)
        if after:
            reach(after)
        return came

    setattr(owner, name, passing)
    return own


def plant() -> None:
    """Make the places."""
    import torch
    from PIL import Image

    from fcnexp import train
    from fcnexp.data.datamodule import AugmentedDraws
    from fcnexp.nn import checkpoints
    from fcnexp.task.module import SegmentationTask as Task

    around(train, "train_one", before="begin")
    around(checkpoints, "read_checkpoint", before="load")
    around(AugmentedDraws, "__getitem__", before="read")
    around(Task, "training_step", before="pass", after="loss")
    around(Task, "on_after_backward", before="backward")
    around(sys.modules["torch.optim.sgd"], "sgd", after="group")  # of parameters, of a step
    around(sys.modules["torch.optim.adamw"], "adamw", after="group")
    around(Task, "on_validation_start", after="scoring")
    around(Task, "validation_step", before="image", after="scored")
    around(Task, "on_validation_epoch_end", after="scores")
    around(Image.Image, "save", before="picture")
    for name in ("replace", "rename", "link"):
        _around_renaming(name)
    _around_writing(torch)


def _around_renaming(name: str) -> None:
    """Places `before FILE` and `after FILE`, when a file gets its name."""
    own = getattr(os, name)

    def renaming(source: Any, target: Any, **settings: Any) -> None:
        reach(f"before {Path(target).name}")
        own(source, target, **settings)
        reach(f"after {Path(target).name}")

    setattr(os, name, renaming)


def _around_writing(torch: Any) -> None:
    """Places `half`, when half of a checkpoint is written, and `line of FILE`, half of one."""
    save, writer = torch.save, csv.writer

    def saving(stored: Any, file: Any, **settings: Any) -> None:
        whole = io.BytesIO()
        save(stored, whole, **settings)
        content = whole.getvalue()
        if isinstance(file, str | os.PathLike):
            with open(file, "wb") as opened:
                _in_halves(content, opened, "half")
        else:
            _in_halves(content, file, "half")

    class HalfLines:
        """A csv.writer."""

        def __init__(self, file: Any, *arguments: Any, **settings: Any) -> None:
            self.file, self.line = file, io.StringIO()
            self.own = writer(self.line, *arguments, **settings)

        def writerow(self, row: Any) -> None:
            self.own.writerow(row)
            text = self.line.getvalue()
            self.line.seek(0)
            self.line.truncate()
            name = getattr(self.file, "name", "")
            _in_halves(text, self.file, f"line of {Path(name).name}")

        def writerows(self, rows: Any) -> None:
            for row in rows:
                self.writerow(row)

    torch.save, csv.writer = saving, HalfLines


def _in_halves(content: str | bytes, file: Any, place: str) -> None:
    file.write(content[: len(content) // 2])
    file.flush()
    reach(place)
    file.write(content[len(content) // 2 :])


def run() -> int:
    """Train as `sys.argv` says, and return the exit code."""
    from fcnexp import train

    plant()
    try:
        train.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def in_fork(work: Callable[[], int]) -> int:
    """Number of a new process that does this and ends."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        code = work()
    except BaseException:  # KeyboardInterrupt too: nothing of the parent's is to go on here
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class SecondProcess(subprocess.Popen):  # Lightning asks for its type
    """What Lightning starts as the second process, forked before the first did anything."""

    def __init__(self) -> None:
        reading, self.writing = os.pipe()
        self.returncode, self._waitpid_lock = None, threading.Lock()  # what a true Popen has
        self.pid = in_fork(lambda: self._wait_for_orders(reading))
        os.close(reading)

    def _wait_for_orders(self, reading: int) -> int:
        os.close(self.writing)
        with open(reading) as pipe:
            orders = pipe.read()
        if not orders:
            return 0  # the first process ended before it wanted a second
        command, environment, folder = json.loads(orders)
        assert command[:2] == [sys.executable, __file__]
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.argv = command[1:]
        return run()

    def start(self, command: list[str], env: dict[str, str], cwd: str) -> "SecondProcess":
        os.write(self.writing, json.dumps([list(command), env, cwd]).encode())
        os.close(self.writing)
        return self

    def __del__(self, **_: Any) -> None:
        """Unlike a true Popen, do not mind being forgotten."""


def serve() -> None:
    """Read jobs from stdin, a line of JSON each, and do each in a forked process.

    A job has `overrides`, `folder`, `environment`, `processes`, `output`, a file, and `fresh`:
    whether its processes are to begin with nothing imported, as a user's do. Writes a line with the
    number of the process, the first of a session of its own, and one with its exit code, below 0
    where a signal has ended it.
    """
    import_all()
    for line in sys.stdin:
        job = json.loads(line)
        child = in_fork(functools.partial(_do, job))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _do(job: dict[str, Any]) -> int:
    os.setsid()
    output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for own, other in ((0, nothing), (1, output), (2, output)):
        os.dup2(other, own)
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    sys.argv = [__file__, *job["overrides"]]
    if job["fresh"]:
        os.execv(sys.executable, [sys.executable, *sys.argv])
    if job["processes"] > 1:
        from lightning.pytorch.strategies.launchers import subprocess_script

        second = SecondProcess()
        subprocess_script.subprocess.Popen = second.start
    return run()


def import_all() -> None:
    """Import what a training imports, so that its forks need not."""
    import torch._dynamo
    from lightning.pytorch.strategies import DDPStrategy
    from torch.nn.parallel import DistributedDataParallel

    from fcnexp import build, loggers, runs, staging, trainers
    from fcnexp.data import datamodule, shapes, steps
    from fcnexp.reporting import pictures, result, start
    from fcnexp.task import module

    assert all((build, loggers, runs, staging, trainers, datamodule, shapes, steps, pictures))
    assert all((result, start, module, torch._dynamo, DDPStrategy, DistributedDataParallel))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(run())
    serve()
