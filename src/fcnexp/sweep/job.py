"""One job of a sweep: skip it if done, resume or run its task, record how it ended."""

import itertools
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from fcnexp.cli.messages import message_of
from fcnexp.errors import ConfigError, OtherVersionError, WeightsError
from fcnexp.reporting.records import CONFIG, RESULT, percent
from fcnexp.run import data_record, locks
from fcnexp.run.locks import FolderError
from fcnexp.sweep import launches, ledger
from fcnexp.sweep.ledger import Failure
from fcnexp.system.os_errors import uncovered
from fcnexp.system.visible import visible

STOPPED = 143  # exit code of a training that SIGTERM stopped after a step
BY_CTRL_C, BY_SLURM = 130, 138

Task = Callable[[DictConfig, Path], float | None]


class Ending(NamedTuple):
    """Outcome of a job in this launch: now, before, elsewhere, failed, stopped, skipped, queued."""

    outcome: str
    miou: float | None = None


class Job(NamedTuple):
    """A job of a sweep. number: place in the launch; folder: absolute; digest: of its config.

    varying: overrides by which the launch's jobs differ, for messages; "" if unknown.
    """

    number: int
    overrides: list[str]
    folder: Path
    digest: str
    varying: str = ""

    def __str__(self) -> str:
        """Name of the job in messages."""
        return f"{self.varying}  ({self.folder.name})" if self.varying else self.folder.name


def run(task: Task, cfg: DictConfig, job: Job) -> Ending:
    """Run a job unless it is done or another process runs it, and record the outcome.

    Exceptions of its task fail this job only, except those that end the sweep: Ctrl-C and SIGTERM.
    Raises FolderError if the folder cannot be used, and ConfigError if the data of a finished job
    has changed.
    """
    if is_done(job):
        data_record.refuse_changed([job.folder])
    ending = done_before(job)
    if ending is None:
        with locks.claim(job.folder) as mine:
            ending = done_before(job)  # another process may just have finished it
            if ending is None and not mine:
                print(f"skipped, already running {place_of(job.folder)}: {job}")
                ending = Ending("elsewhere")
            elif ending is None and cfg.fail_fast and has_failed():
                print(f"skipped, a job has failed: {job}")
                ending = Ending("skipped")
            elif ending is None:
                return _attempt(task, cfg, job)
    note(job, ending.outcome)
    return ending


def is_done(job: Job) -> bool:
    """Return True if a job is done; False if its folder belongs to another job."""
    try:
        return ledger.result_of(job.folder, job.digest) is not None
    except FolderError:
        return False


def done_before(job: Job) -> Ending | None:
    """Return and print the ending of a finished job; None if it must run.

    Imports no torch. Raises FolderError if the folder belongs to another job.
    """
    result = ledger.result_of(job.folder, job.digest)
    if result is None:
        return None
    miou = result["scores"]["miou"]
    launch = launches.current()
    first = launch.find(job.folder) if launch else None
    why = "done before"
    if first is not None and first.number != job.number and first.outcome != "begun":
        why = f"same job as #{first.number}, the differing settings do not affect results"
    line = f"#{job.number} {why}, mean IU {percent(miou)} %: {job}\n"
    print(line, end="", flush=True)  # in one write, as other jobs report at the same time
    return Ending("before", miou)


def note(job: Job, outcome: str) -> None:
    """Record a job's outcome for all processes of the launch, if there is one."""
    if launch := launches.current():
        launch.note(launches.Note(job.number, job.folder, list(job.overrides), outcome))


def has_failed() -> bool:
    """Return True if a job of this launch has failed."""
    launch = launches.current()
    return launch is not None and any(note.outcome == "failed" for note in launch.notes())


def _attempt(task: Task, cfg: DictConfig, job: Job) -> Ending:
    record = None
    try:
        note(job, "begun")
        record = ledger.begin(job.folder, job.digest, job.number, job.overrides)
        cfg.resume = "auto" if prepare(job.folder) else False
        miou = task(cfg, job.folder)
        ledger.end(job.folder, record)
        note(job, "now")
        return Ending("now", miou)
    except BaseException as error:  # also SystemExit, which would end the sweep silently
        failure = describe(error, job.folder)
        print(line_of_end(job, failure, stopped=is_stop(error)), file=sys.stderr, flush=True)
        try:
            if record is not None:
                ledger.end(job.folder, record, failure, stopped=is_stop(error))
            note(job, "stopped" if is_stop(error) else "failed")
        except OSError as second:  # a full disk may not affect the next job
            print(f"not recorded: {second}", file=sys.stderr)
        if is_stop(error):
            raise
        return Ending("failed")


def record_death(
    job: Job, cause: Failure, pid: int | None = None, *, stopped: bool = False
) -> tuple[Ending, Failure | None]:
    """Record the outcome of a job whose process has died; also return its failure, if any.

    pid: of the process, if known; a failure that it recorded itself is kept. stopped: a signal
    ended it before it could write. Raises FolderError, and OSError if nothing can be written.
    """
    with locks.claim(job.folder) as mine:
        if not mine:
            return Ending("elsewhere"), None
        if (result := ledger.result_of(job.folder, job.digest)) is not None:
            return Ending("now", result["scores"]["miou"]), None
        record = ledger.read(job.folder)
        own = record is not None and pid in (None, record.pid)
        if record is None or not own:  # it died before it could write anything
            record = ledger.begin(job.folder, job.digest, job.number, job.overrides)
        stopped = stopped or record.state == "stopped"  # it has saved its checkpoint
        if pid is None or not own or record.state not in ("failed", "stopped"):
            record = ledger.end(job.folder, record, cause, stopped=stopped)
    return Ending(record.state), record.error


def place_of(folder: Path) -> str:
    """Host and process that run a job, for messages."""
    record = ledger.read(folder)
    return f"on {record.host}, process {record.pid}" if record else "in another process"


def prepare(folder: Path) -> bool:
    """Rename a job's damaged files; return True if the folder holds a run to resume.

    If both checkpoints are damaged, the training starts over. Raises OtherVersionError.
    """
    stages = sorted((folder / "stages").glob("*"))
    if not any((folder / sign).exists() for sign in (RESULT, CONFIG, "checkpoints", "stages")):
        return False
    from fcnexp.run import run_folder  # imports torch

    for part in (folder, *stages):
        try:
            run_folder.finished(part)
        except ConfigError:
            print(f"{part / RESULT}: damaged; scoring again")
            set_aside(part / RESULT)
        try:
            run_folder.last_checkpoint(part)
        except OtherVersionError:
            raise
        except WeightsError as error:
            print(f"{error}\nthis training starts over")
            set_aside(part / "checkpoints")
            if (part / RESULT).exists():
                set_aside(part / RESULT)
        try:
            run_folder.stored_config(part)
        except ConfigError:
            set_aside(part / CONFIG)  # the resumed run writes it again
    return True


def set_aside(path: Path) -> None:
    """Rename a damaged file or folder, so that the user can still inspect it."""
    taken = (path.with_name(f"{path.name}.damaged-{number}") for number in itertools.count(1))
    path.rename(next(name for name in taken if not name.exists()))


def describe(error: BaseException, folder: Path) -> Failure:
    """Describe an exception for `job.json`; only a bug of ours needs its traceback.

    folder: of the job.
    """
    kind, trace = type(error).__name__, None
    if is_stop(error):
        message = "stopped by a signal; the same command continues this job"
    elif known := message_of(error, "train", folder, "the same command continues this job"):
        message = known
    elif isinstance(error, SystemExit):
        message = f"exit code {error.code}"
    else:
        first = uncovered(error)  # the traceback has both
        kind, message = type(first).__name__, str(first)
        trace = "".join(traceback.format_exception(error))
    return {"type": kind, "message": message, "traceback": trace}


def line_of_end(job: Job, failure: Failure, *, stopped: bool = False) -> str:
    """One line on a job that failed or was stopped, with the path of its log."""
    message = (failure["message"] or "").strip().splitlines() or ["no message"]
    log = job.folder / "output.log"
    return (
        f"{'stopped' if stopped else 'failed'}: {job}: {failure['type']}: {visible(message[0])}; "
        f"{log if log.exists() else job.folder}"
    )


def is_stop(error: BaseException) -> bool:
    """Return True if an exception ends the sweep, not only this job."""
    if isinstance(error, SystemExit):  # Lightning turns Ctrl-C into one, too
        asked = error.code in (STOPPED, BY_CTRL_C, BY_SLURM)
        return asked or isinstance(error.__context__, KeyboardInterrupt)
    return isinstance(error, KeyboardInterrupt)
