"""Faults of the machine: a full disk, no memory, no more files, a process killed; told in words.

They are known by errno and type, and by text only where a library leaves nothing else, as torch
does, whose processes that read images hand their exceptions on as text.
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SHM = Path("/dev/shm")
SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FILES = (errno.EMFILE, errno.ENFILE)
MAY_NOT = {
    errno.EACCES: "this user may not",
    errno.EPERM: "nobody may",
    errno.EROFS: "its disk is mounted read-only",
}
IN_THE_WAY = {
    errno.EISDIR: "a folder is in the way",
    errno.ENOTDIR: "a file is in the way",
    errno.EEXIST: "a file is in the way",
    errno.ENAMETOOLONG: "its name is too long for this disk",
}
FAILING = {errno.EIO: "its disk fails", errno.ESTALE: "its file server has lost it"}
KNOWN = (*SPACE, *FILES, *MAY_NOT, *IN_THE_WAY, *FAILING, errno.ENOMEM)
LIBRARIES = (OSError, RuntimeError, ImportError, EOFError)  # types whose text is looked into
# Of C++ code: only what is never said of anything else.
TEXTS = {os.strerror(n): n for n in (errno.ENOSPC, *FILES, errno.ENOMEM, errno.EROFS)}
ERRNO = re.compile(r"\[Errno (\d+)\] [^:'\n]*(?:: (?:'[^'\n]+' -> )?'([^'\n]+)')?")
ASKED = re.compile(r"(?:tried to allocate|Unable to allocate) ([\d.]+ \w+)", re.IGNORECASE)
NO_MEMORY = ("DefaultCPUAllocator", "std::bad_alloc", "can't start new thread")
NO_GPU_MEMORY = ("CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
KILLED = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: ([^.]+)|exited unexp)"
)
UNWRITTEN = ("PytorchStreamWriter failed writing", "unexpected pos ")  # why, they do not say
# Of those that fail once more over a fault: torch.save, `logging`, Lightning.
HIDING = (*UNWRITTEN, "Unable to configure handler", "`iter(combined_loader)` first")


class Command(NamedTuple):
    """What can be typed to get by: to write elsewhere, and to take less memory."""

    elsewhere: str
    less: str


COMMANDS = {
    "train": Command(
        "hydra.run.dir=FOLDER, of a sweep hydra.sweep.dir",
        "fewer images at a time (regime.batch_size, and more regime.accumulate), "
        "trainer.activation_checkpointing=true, or a smaller augment.crop",
    ),
    "evaluate": Command("hydra.run.dir=FOLDER", "fewer workers, or smaller images"),
    "predict": Command("output=FOLDER", "say how much there is, as in memory=4GB"),
    "prepare": Command("another root or output=FOLDER", "fewer workers"),
    "export": Command("output=FILE", "format=state_dict needs least"),
    "report": Command("output=FOLDER", "give fewer folders at a time"),
}
ANY = Command("another folder", "a machine with more, or fewer workers")


def let_through(error: BaseException, *, memory: bool = True) -> None:
    """Raise what reading a file has raised once more, where the machine is to blame, not the file.

    memory: False where a damaged file may ask for any amount of it.
    """
    if _number(error)[0] in (*FILES, *FAILING, errno.ENOSPC, errno.EROFS, errno.EDQUOT):
        raise error
    if memory and _memory(error) is not None:
        raise error


def in_words(error: BaseException, command: Command, folder: Path | None = None) -> str | None:
    """What has happened, where, and what to type; None for what is no fault of the machine.

    folder: of the run, which is where its files are written that the exception does not name.
    """
    # What was first is the reason, and knows most of it.
    chain = reversed(list(_chain(error)))
    return next(filter(None, (_told(each, command, folder) for each in chain)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception, and what it was raised from."""
    seen: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in seen:
        seen.append(each)
        yield each
        hides = any(words in str(each) for words in HIDING)
        each = each.__cause__ or (each.__context__ if hides else None)


def _told(error: BaseException, command: Command, folder: Path | None) -> str | None:
    text = str(error)
    if isinstance(error, LIBRARIES) and (words := _of_process(error, text)):
        return words
    if words := _memory(error):
        return f"{words}; {command.less}"
    number, name = _number(error)
    where = name or (str(_fullest(folder)) if number in SPACE else "")
    if number in FILES:
        return (
            f"too many open files{_limit()}: type `ulimit -n 65536` before the command, or fewer "
            "workers"
        )
    if number in SPACE:
        return f"{where}: {_no_space(number, where)}"
    if number in MAY_NOT:
        return (
            f"{where}: cannot be written or read, {MAY_NOT[number]} ({os.strerror(number)}); see "
            f"to that, or choose {command.elsewhere}"
        )
    if number in IN_THE_WAY:
        return f"{where}: cannot be written, {IN_THE_WAY[number]}; choose {command.elsewhere}"
    if number in FAILING:
        return f"{where or folder}: {FAILING[number]} ({os.strerror(number)}); `dmesg` may tell why"
    return None


def _of_process(error: BaseException, text: str) -> str | None:
    """What is to be said of processes beside this one, and of what is shared with them."""
    if "Bus error" in text or _is_of_shm(error, text):
        return (
            f"no shared memory{_free(SHM)}, through which images come from the processes that read "
            "them: workers=0 does without, fewer may do; in a container give it more, as docker "
            "run --shm-size=8g does"
        )
    if found := KILLED.search(text):
        how = f"was ended ({found[2]})" if found[2] else "is gone"
        return (
            f"process {found[1]}, which read images, {how}: memory may have run out, of which "
            f"`dmesg` tells, or open files{_limit()}; fewer workers, or workers=0"
        )
    if isinstance(error, EOFError) and _place(error).startswith("multiprocessing."):
        return "a process that reads images broke off; open files or memory may have run out in it"
    if type(error).__name__ == "BrokenProcessPool":
        return (
            "a process beside this one was ended by the system, as it does where memory runs out; "
            "fewer workers, or 0"
        )
    return None


def _is_of_shm(error: BaseException, text: str) -> bool:
    """Whether shared memory, or a semaphore, which lies there, could not be had."""
    if "</torch_" in text and any(words in text for words in ("unable to", "could not")):
        return os.strerror(errno.EMFILE) not in text
    return isinstance(error, OSError) and _place(error) == "multiprocessing.synchronize"


def _place(error: BaseException) -> str:
    """The module that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else trace.tb_frame.f_globals.get("__name__", "")


def _memory(error: BaseException) -> str | None:
    """What memory has run out, and what was asked for; None where it has not."""
    text = str(error)
    asked = f" (it asked for {found[1]})" if (found := ASKED.search(text)) else ""
    if isinstance(error, LIBRARIES) and any(words in text for words in NO_GPU_MEMORY):
        return f"the GPU's memory has run out{asked}"
    of_torch = isinstance(error, RuntimeError) and any(words in text for words in NO_MEMORY)
    if of_torch or isinstance(error, MemoryError) or _number(error)[0] == errno.ENOMEM:
        return f"memory has run out{asked}"
    return None


def _number(error: BaseException) -> tuple[int, str]:
    """The errno of a fault, 0 for what is none; and the file that it is of, if it is known."""
    if not isinstance(error, LIBRARIES):
        return 0, ""
    number, name = getattr(error, "errno", None), getattr(error, "filename", None)
    name = getattr(error, "filename2", None) or name  # of two, the one that is written
    text = str(error)
    if number is None:  # as another process's, whose number is in the text
        found = ERRNO.findall(text)[-1:]
        number, name = (int(found[0][0]), found[0][1]) if found else (None, None)
    if number is None:
        number = next((n for words, n in TEXTS.items() if words in text), None)
    if number is None and any(words in text for words in UNWRITTEN):
        number = errno.ENOSPC
    # Without its name it need not be a file: a socket, too, may say EACCES.
    needs_name = number in (*MAY_NOT, *IN_THE_WAY) and number != errno.EROFS
    if number not in KNOWN or (needs_name and not name):
        return 0, ""
    return number, os.fsdecode(name) if isinstance(name, str | bytes) else ""


def _no_space(number: int, where: str) -> str:
    if number == errno.EFBIG:
        return "larger than a file may be here; `ulimit -f unlimited`, or another disk"
    if number == errno.EDQUOT:
        return "this user's share of the disk is used up; free some"
    return f"no space left on the disk{_free(Path(where))}; free some"


def _fullest(folder: Path | None) -> Path:
    """Of the folders that a run writes to the one whose disk has least left."""
    cache = Path(os.environ.get("FCNEXP_CACHE", "~/.cache/fcnexp")).expanduser()
    places = (folder or Path.cwd(), cache, Path(tempfile.gettempdir()))
    return min(map(_existing, places), key=lambda place: shutil.disk_usage(place).free)


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.absolute().parents) if each.is_dir())


def _free(path: Path) -> str:
    """How much is free there, in brackets."""
    if path == SHM and not path.is_dir():
        return f" ({path} is missing)"
    usage = shutil.disk_usage(_existing(path))
    return f" ({_existing(path)}: {usage.free / 2**20:.0f} of {usage.total / 2**20:.0f} MiB free)"


def _limit() -> str:
    try:
        import resource  # of Unix
    except ImportError:
        return ""
    return f" (this process may have {resource.getrlimit(resource.RLIMIT_NOFILE)[0]})"
