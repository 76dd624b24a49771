"""Forks trainings with planted faults from a process that has imported everything once."""

import atexit
import functools
import importlib
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import killed

IMPORTED = (
    *("lightning.pytorch.strategies", "torch._dynamo", "torch.nn.parallel", "fcnexp.build"),
    *(
        "fcnexp.data.datamodule",
        "fcnexp.data.generated.shapes",
        "torchvision.transforms.v2",
        "fcnexp.run.loggers",
    ),
    *("fcnexp.reporting.pictures", "fcnexp.reporting.result", "fcnexp.reporting.run_header"),
    *("fcnexp.run.run_folder", "fcnexp.run.staging", "fcnexp.task.module", "fcnexp.run.trainers"),
)


def serve() -> None:
    """Read jobs from stdin, a line of JSON each, and run each in a forked process.

    A job has `overrides`, `folder`, `environment`, `processes`, `output` (a file) and `fresh`: true
    for processes that start without imports, as a user's do. Prints a line with the process ID, the
    leader of a new session, and one with its exit code, negative if a signal ended it.
    """
    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        job = json.loads(line)
        child = in_fork(functools.partial(_train, job))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _train(job: dict[str, Any]) -> int:
    os.setsid()
    output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for own, other in ((0, nothing), (1, output), (2, output)):
        os.dup2(other, own)
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    sys.argv = [killed.__file__, *job["overrides"]]
    if job["fresh"]:
        os.execv(sys.executable, [sys.executable, *sys.argv])
    if job["processes"] > 1:
        from lightning.pytorch.strategies.launchers import subprocess_script

        second = SecondProcess()
        subprocess_script.subprocess.Popen = second.start
    return killed.run()


def in_fork(work: Callable[[], int]) -> int:
    """Run a function in a forked process; return the process ID."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        code = work()
    except BaseException:  # also KeyboardInterrupt: the parent's code must not continue here
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class SecondProcess(subprocess.Popen):  # Lightning asks for its type
    """Lightning's second process, forked before the first has done anything."""

    def __init__(self) -> None:
        reading, self.writing = os.pipe()
        self.returncode, self._waitpid_lock = None, threading.Lock()  # attributes of a real Popen
        self.pid = in_fork(lambda: self._wait_for_orders(reading))
        os.close(reading)

    def _wait_for_orders(self, reading: int) -> int:
        os.close(self.writing)
        with open(reading) as pipe:
            orders = pipe.read()
        if not orders:
            return 0  # the first process ended before it needed a second
        command, environment, folder = json.loads(orders)
        assert command[:2] == [sys.executable, killed.__file__]
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.argv = command[1:]
        return killed.run()

    def start(self, command: list[str], env: dict[str, str], cwd: str) -> "SecondProcess":
        os.write(self.writing, json.dumps([list(command), env, cwd]).encode())
        os.close(self.writing)
        return self

    def __del__(self, **_: Any) -> None:
        """Do not warn, unlike a real Popen, if the process still runs."""


if __name__ == "__main__":
    serve()
