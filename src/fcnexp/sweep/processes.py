"""Jobs of a sweep as processes: GPUs, start, stop, and the record of those that die."""

import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

from fcnexp.errors import ConfigError
from fcnexp.reporting.records import percent
from fcnexp.run import locks
from fcnexp.run.locks import FolderError
from fcnexp.sweep import ledger
from fcnexp.sweep.job import (
    Ending,
    Job,
    describe,
    done_before,
    has_failed,
    line_of_end,
    note,
    place_of,
    record_death,
)
from fcnexp.system import this_process

JOB = "FCNEXP_JOB"  # environment: number of the job that a process runs
CODES = {"failed": 1, "elsewhere": 75, "skipped": 76}  # exit code of its process, by outcome
OUTPUT = "output.log"
GRACE = 60.0  # seconds for a process to save after SIGTERM
PAUSE = 1.0  # seconds between looks at a job that another process runs


class Planned(NamedTuple):
    """A job to run, and the command and further environment of its process."""

    job: Job
    command: list[str]
    environment: Mapping[str, str] = {}


class Processes:
    """Runs jobs concurrently, each in a separate session, which Ctrl-C does not reach."""

    def __init__(self, gpus: Sequence[str | None], fail_fast: bool) -> None:
        self.n_jobs, self.fail_fast = len(gpus), fail_fast
        self.gpus: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for gpu in gpus:
            self.gpus.put(gpu)
        self.lock = threading.Lock()
        self.running: set[subprocess.Popen] = set()
        self.stopping = False

    def run(self, planned: Sequence[Planned]) -> list[Ending]:
        """Run the jobs and return their endings. Ctrl-C and SIGTERM end the processes and raise."""
        left, endings = iter(planned), dict[int, Ending]()

        def keep(planned: Planned, ending: Ending) -> None:
            endings[planned.job.number] = ending

        self.run_as_chosen(lambda: next(left, None), keep, patient=False)
        return [endings[each.job.number] for each in planned]

    def run_as_chosen(
        self,
        choose: Callable[[], Planned | None],
        tell: Callable[[Planned, Ending], None],
        *,
        patient: bool = True,
    ) -> None:
        """Run one job after the other, each chosen when a place is free; return when none is left.

        choose: the next job, or None. tell: hears of each ending. One thread at a time calls them.
        patient: wait for a job that runs elsewhere. Ctrl-C and SIGTERM end the processes and raise.
        """
        turn = threading.Lock()

        def work() -> None:
            while True:
                with turn:
                    planned = choose()
                if planned is None:
                    return
                ending = self._do(planned)
                while patient and ending.outcome == "elsewhere" and not self.stopping:
                    time.sleep(PAUSE)
                    if not locks.is_held(planned.job.folder):
                        ending = self._do(planned)
                with turn:
                    tell(planned, ending)

        with ThreadPoolExecutor(self.n_jobs) as pool, _sigterm_raises():
            futures = [pool.submit(work) for _ in range(self.n_jobs)]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self._stop()
                raise

    def _do(self, planned: Planned) -> Ending:
        job = planned.job
        ending = done_before(job)
        if ending is None:
            try:
                ending = self._without_process(job) or self._on_a_gpu(planned)
            except (OSError, FolderError) as error:  # a full disk, a file with the folder's name
                self._say(line_of_end(job, describe(error, job.folder)), sys.stderr)
                ending = Ending("failed")
        note(job, ending.outcome)
        return ending

    def _on_a_gpu(self, planned: Planned) -> Ending:
        gpu = self.gpus.get()
        try:
            return self._in_process(planned, gpu)
        finally:
            self.gpus.put(gpu)

    def _without_process(self, job: Job) -> Ending | None:
        """Ending of a job that runs elsewhere or is skipped; None if it needs a process."""
        if locks.is_held(job.folder):
            self._say(f"#{job.number} skipped, already running {place_of(job.folder)}: {job}")
            return Ending("elsewhere")
        if self.stopping or (self.fail_fast and has_failed()):
            return Ending("skipped")
        return None

    def _in_process(self, planned: Planned, gpu: str | None) -> Ending:
        job = planned.job
        job.folder.mkdir(parents=True, exist_ok=True)
        starting = locks.claim(job.folder, locks.START)
        with (job.folder / OUTPUT).open("ab") as output, starting:
            with self.lock:
                if self.stopping:
                    return Ending("skipped")
                process = subprocess.Popen(
                    planned.command,
                    env=self._environment(gpu) | {JOB: str(job.number)} | dict(planned.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                self.running.add(process)
            on = "" if gpu is None else f" on GPU {gpu}"
            self._say(f"#{job.number} starts{on}: {job}")
            code = process.wait()
        with self.lock:
            self.running.discard(process)
        return self._ending(job, process.pid, code)

    def _environment(self, gpu: str | None) -> dict[str, str]:
        threads = str(max(1, this_process.cores() // self.n_jobs))
        defaults = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": threads}
        return defaults | os.environ | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})

    def _ending(self, job: Job, pid: int, code: int) -> Ending:
        result, record = ledger.result_of(job.folder, job.digest), ledger.read(job.folder)
        if result is not None and record is not None and record.pid == pid:  # despite the code
            miou, took = result["scores"]["miou"], f"{record.seconds or 0:.0f} s"
            self._say(f"#{job.number} done, mean IU {percent(miou)} %, {took}: {job}")
            return Ending("now", miou)
        if outcome := {CODES[name]: name for name in ("elsewhere", "skipped")}.get(code):
            return Ending(outcome)
        stopped = code in (-signal.SIGTERM, -signal.SIGINT)
        ending, failure = record_death(job, _cause(code, job.folder), pid, stopped=stopped)
        if failure is not None:
            line = line_of_end(job, failure, stopped=ending.outcome == "stopped")
            self._say(line, sys.stderr)
        return ending

    def _stop(self) -> None:
        with self.lock:
            self.stopping = True
            processes = list(self.running)
        if processes:
            self._say(f"stopping {len(processes)} jobs, which save first", sys.stderr)
        for process in processes:
            process.terminate()
        end = time.monotonic() + GRACE
        try:
            for process in processes:
                process.wait(max(0.0, end - time.monotonic()))
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            for process in processes:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def _say(self, line: str, file: TextIO | None = None) -> None:
        with self.lock:
            print(f"{line}\n", end="", file=file or sys.stdout, flush=True)  # in one write


def assign_gpus(choice: str | Sequence[int | str] | None, n_jobs: int) -> list[str | None]:
    """Return CUDA_VISIBLE_DEVICES for each concurrent job; None leaves the variable unchanged.

    choice: ids; `auto` for the visible ones in turn; None for no assignment. Raises ConfigError.
    """
    if choice is None:
        return [None] * n_jobs
    if choice == "auto":
        found = _visible_gpus()
        return [found[i % len(found)] for i in range(n_jobs)] if found else [None] * n_jobs
    if isinstance(choice, str) or not choice:
        raise ConfigError(
            f"hydra.launcher.gpus={choice}: allowed are auto, null, or a list of ids such as [0,1]"
        )
    if len(choice) < n_jobs:
        raise ConfigError(
            f"hydra.launcher.gpus={list(choice)}: {len(choice)} for hydra.launcher.n_jobs={n_jobs} "
            "concurrent jobs; list one id per job, and an id twice if two jobs share the GPU"
        )
    return [str(gpu) for gpu in choice[:n_jobs]]


def _visible_gpus() -> list[str]:
    """Ids of the GPUs that this process may use, from CUDA_VISIBLE_DEVICES or nvidia-smi."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu.strip() for gpu in visible.split(",") if gpu.strip() not in ("", "-1")]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=index", "--format=csv,noheader"]
    listed = subprocess.run(command, capture_output=True, text=True)
    return listed.stdout.split() if listed.returncode == 0 else []


def _cause(code: int, folder: Path) -> dict[str, str | None]:
    """Describe the exit code of a process that has not recorded its own ending."""
    if code < 0:
        kind = signal.Signals(-code).name
        guess = "; memory may have run out" if kind == "SIGKILL" else ""
        message = f"its process was ended by {kind}{guess}"
    else:
        kind, message = "ProcessExit", f"its process ended with exit code {code} without a result"
    lines = (folder / OUTPUT).read_text(errors="replace").splitlines()[-20:]
    return {"type": kind, "message": message, "traceback": "\n".join(lines) or None}


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Turn SIGTERM into an exception for the block, so that no process is left running."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
