"""One job of a sweep, around its task: is it to be run, where does it go on, how did it end."""

import itertools
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from fcnexp.cli.messages import message_of
from fcnexp.errors import ConfigError, OtherVersionError, WeightsError
from fcnexp.reporting.records import CONFIG, RESULT
from fcnexp.reporting.tables import percent
from fcnexp.run import data_record, locks
from fcnexp.run.locks import FolderError
from fcnexp.sweep import launches, ledger

STOPPED = 143  # exit code of a training that SIGTERM has ended, behind a step
BY_CTRL_C, BY_SLURM = 130, 138

Task = Callable[[DictConfig, Path], float | None]
Failure = dict[str, str | None]  # type, message, traceback


class Ending(NamedTuple):
    """What became of a job in this launch: now, before, elsewhere, failed, stopped or skipped."""

    outcome: str
    miou: float | None = None


class Job(NamedTuple):
    """A job of a sweep. number: its place in the launch; folder: absolute; digest: what it is.

    varying: those overrides by which the launch's jobs differ, for people; "" where nobody knows.
    """

    number: int
    overrides: list[str]
    folder: Path
    digest: str
    varying: str = ""

    def __str__(self) -> str:
        """As lines on the terminal call it."""
        return f"{self.varying}  ({self.folder.name})" if self.varying else self.folder.name


def run(task: Task, cfg: DictConfig, job: Job) -> Ending:
    """Do a job unless it is done or another process is at it, and write down what came of it.

    What its task raises fails this job only, but for what ends the sweep: Ctrl-C and SIGTERM.
    Raises FolderError where the folder cannot be used, and ConfigError where a job that is done was
    done with other data.
    """
    if is_done(job):
        data_record.refuse_changed([job.folder])
    ending = done_before(job)
    if ending is None:
        with locks.claim(job.folder) as mine:
            ending = done_before(job)  # a moment ago
            if ending is None and not mine:
                print(f"skipped, it runs {place_of(job.folder)}: {job}")
                ending = Ending("elsewhere")
            elif ending is None and cfg.fail_fast and has_failed():
                print(f"skipped, a job has failed: {job}")
                ending = Ending("skipped")
            elif ending is None:
                return _attempt(task, cfg, job)
    note(job, ending.outcome)
    return ending


def is_done(job: Job) -> bool:
    """Whether there is nothing to do for a job; one whose folder is another's is not done."""
    try:
        return ledger.result_of(job.folder, job.digest) is not None
    except FolderError:
        return False


def done_before(job: Job) -> Ending | None:
    """The ending of a job that is done, which is printed; None where there is something to do.

    Imports no torch. Raises FolderError where the folder is another job's.
    """
    result = ledger.result_of(job.folder, job.digest)
    if result is None:
        return None
    miou = result["scores"]["miou"]
    launch = launches.current()
    first = launch.find(job.folder) if launch else None
    why = "done before"
    if first is not None and first.number != job.number and first.outcome != "begun":
        why = f"the same job as #{first.number}, what differs changes no number"
    print(f"#{job.number} {why}, mean IU {percent(miou)} %: {job}", flush=True)
    return Ending("before", miou)


def note(job: Job, outcome: str) -> None:
    """Tell all processes of the launch, if there is one, what is done with a job."""
    if launch := launches.current():
        launch.note(launches.Note(job.number, job.folder, list(job.overrides), outcome))


def has_failed() -> bool:
    """Whether a job of this launch has failed by now."""
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
    except BaseException as error:  # SystemExit, too: it would end the sweep without a word
        failure = describe(error, job.folder)
        print(line_of_end(job, failure, stopped=is_stop(error)), file=sys.stderr, flush=True)
        try:
            if record is not None:
                ledger.end(job.folder, record, failure, stopped=is_stop(error))
            note(job, "stopped" if is_stop(error) else "failed")
        except OSError as second:  # a full disk need not be the next job's
            print(f"not recorded: {second}", file=sys.stderr)
        if is_stop(error):
            raise
        return Ending("failed")


def bury(
    job: Job, cause: Failure, pid: int | None = None, *, stopped: bool = False
) -> tuple[Ending, Failure | None]:
    """Write down what became of a job whose process is gone, where that could not.

    pid: of that process, where it is known: what it has written of its own failure stays. stopped:
    it was ended from outside before it could write. Returns why the job is not done, too. Raises
    FolderError, and OSError where nothing can be written.
    """
    with locks.claim(job.folder) as mine:
        if not mine:
            return Ending("elsewhere"), None
        if (result := ledger.result_of(job.folder, job.digest)) is not None:
            return Ending("now", result["scores"]["miou"]), None
        record = ledger.read(job.folder)
        own = record is not None and pid in (None, record.pid)
        if record is None or not own:  # it was gone before it could write anything
            record = ledger.begin(job.folder, job.digest, job.number, job.overrides)
        stopped = stopped or record.state == "stopped"  # it has saved where it is
        if pid is None or not own or record.state not in ("failed", "stopped"):
            record = ledger.end(job.folder, record, cause, stopped=stopped)
    return Ending(record.state), record.error


def place_of(folder: Path) -> str:
    """Where a job runs, for people."""
    record = ledger.read(folder)
    return f"on {record.host}, process {record.pid}" if record else "in another process"


def prepare(folder: Path) -> bool:
    """Set aside what is damaged of a job; returns whether there is more to go on from.

    Where its checkpoints are, this training begins anew. Raises OtherVersionError.
    """
    stages = sorted((folder / "stages").glob("*"))
    if not any((folder / sign).exists() for sign in (RESULT, CONFIG, "checkpoints", "stages")):
        return False
    from fcnexp.run import run_folder  # imports torch

    for part in (folder, *stages):
        try:
            run_folder.finished(part)
        except ConfigError:
            print(f"{part / RESULT}: damaged; it is scored again")
            set_aside(part / RESULT)
        try:
            run_folder.last_checkpoint(part)
        except OtherVersionError:
            raise
        except WeightsError as error:
            print(f"{error}\nthis training begins anew")
            set_aside(part / "checkpoints")
            if (part / RESULT).exists():
                set_aside(part / RESULT)
        try:
            run_folder.stored_config(part)
        except ConfigError:
            set_aside(part / CONFIG)  # written from the same config in a moment
    return True


def set_aside(path: Path) -> None:
    """Give a file or folder another name: somebody may know more of what is in it."""
    taken = (path.with_name(f"{path.name}.damaged-{number}") for number in itertools.count(1))
    path.rename(next(name for name in taken if not name.exists()))


def describe(error: BaseException, folder: Path) -> Failure:
    """What `job.json` says of an exception; only a bug of ours needs its traceback.

    folder: of the job.
    """
    kind, trace = type(error).__name__, None
    if is_stop(error):
        message = "stopped from outside; the same command goes on with it"
    elif told := message_of(error, "train", folder, "the same command goes on with this job"):
        message = told
    elif isinstance(error, SystemExit):
        message = f"exit code {error.code}"
    else:
        message, trace = str(error), "".join(traceback.format_exception(error))
    return {"type": kind, "message": message, "traceback": trace}


def line_of_end(job: Job, failure: Failure, *, stopped: bool = False) -> str:
    """One line on a job that has failed or was stopped, and where to look."""
    message = (failure["message"] or "").strip().splitlines() or ["without a message"]
    log = job.folder / "output.log"
    return (
        f"{'stopped' if stopped else 'failed'}: {job}: {failure['type']}: {message[0]}; "
        f"{log if log.exists() else job.folder}"
    )


def is_stop(error: BaseException) -> bool:
    """Whether an exception means the end of the sweep, not of this job alone."""
    if isinstance(error, SystemExit):  # Lightning turns Ctrl-C into one, too
        asked = error.code in (STOPPED, BY_CTRL_C, BY_SLURM)
        return asked or isinstance(error.__context__, KeyboardInterrupt)
    return isinstance(error, KeyboardInterrupt)
