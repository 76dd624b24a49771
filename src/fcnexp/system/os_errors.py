"""Messages for system errors: a full disk, no memory, too many open files, a killed process.

Errors are recognised by errno and type, and by text only if a library leaves nothing else, as torch
does for exceptions of its data-loading workers.
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
    errno.EACCES: "this user lacks permission",
    errno.EPERM: "the system forbids it",
    errno.EROFS: "its disk is mounted read-only",
}
IN_THE_WAY = {
    errno.EISDIR: "a folder is in the way",
    errno.ENOTDIR: "a file is in the way",
    errno.EEXIST: "a file is in the way",
    errno.ENAMETOOLONG: "its name is too long for this disk",
}
FAILING = {errno.EIO: "its disk has failed", errno.ESTALE: "its file server no longer has it"}
KNOWN = (*SPACE, *FILES, *MAY_NOT, *IN_THE_WAY, *FAILING, errno.ENOMEM)
LIBRARIES = (OSError, RuntimeError, ImportError, EOFError)  # types whose text is searched
# Texts of C++ code that mean nothing else.
TEXTS = {os.strerror(n): n for n in (errno.ENOSPC, *FILES, errno.ENOMEM, errno.EROFS)}
ERRNO = re.compile(r"\[Errno (\d+)\] [^:'\n]*(?:: (?:'[^'\n]+' -> )?'([^'\n]+)')?")
ASKED = re.compile(r"(?:tried to allocate|Unable to allocate) ([\d.]+ \w+)", re.IGNORECASE)
# The last is of the loader of shared libraries, if there is no address space left.
NO_MEMORY = (
    *("DefaultCPUAllocator", "std::bad_alloc", "can't start new thread"),
    *("failed to map segment from shared object", "cannot allocate memory in static TLS block"),
)
NO_GPU_MEMORY = ("CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
KILLED = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: ([^.]+)|exited unexp)"
)
UNWRITTEN = ("PytorchStreamWriter failed writing", "unexpected pos ")  # they omit the reason
# Exceptions that hide an earlier one: of torch.save, `logging`, Lightning.
HIDING = (*UNWRITTEN, "Unable to configure handler", "`iter(combined_loader)` first")


class Command(NamedTuple):
    """Advice for one command. elsewhere: to write to another place; less: to use less memory."""

    elsewhere: str
    less: str


COMMANDS = {
    "train": Command(
        "hydra.run.dir=FOLDER (for a sweep hydra.sweep.dir=FOLDER)",
        "use fewer images per pass (a smaller regime.batch_size with a larger regime.accumulate), "
        "trainer.activation_checkpointing=true, or a smaller augment.crop",
    ),
    "evaluate": Command("hydra.run.dir=FOLDER", "use fewer workers or smaller images"),
    "predict": Command("output=FOLDER", "set the available memory, for example memory=4GB"),
    "prepare": Command("another root or output=FOLDER", "use fewer workers"),
    "export": Command("output=FILE", "format=state_dict needs the least memory"),
    "report": Command("output=FOLDER", "give fewer folders per command"),
}
ANY = Command("another folder", "use fewer workers, or a machine with more memory")


def reraise_system_error(error: BaseException, *, memory: bool = True) -> None:
    """Raise an exception from reading a file again if the system, not the file, is its cause.

    memory: False if a damaged file may have requested any amount of it.
    """
    if _number(error)[0] in (*FILES, *FAILING, errno.ENOSPC, errno.EROFS, errno.EDQUOT):
        raise error
    if memory and _memory(error) is not None:
        raise error


def uncovered(error: BaseException) -> BaseException:
    """Return the exception that came first, if this one only hides it; else this one."""
    while _hides(error) and error.__context__ is not None:
        error = error.__context__
    return error


def _hides(error: BaseException) -> bool:
    return any(words in str(error) for words in HIDING)


def message_for(error: BaseException, command: Command, folder: Path | None = None) -> str | None:
    """Say what happened, where, and what to type; None if it is not a system error.

    folder: of the run, for errors on a full disk that do not name the file.
    """
    # The first exception of the chain is the cause and has the most details.
    chain = reversed(list(_chain(error)))
    return next(filter(None, (_message(each, command, folder) for each in chain)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, then those it was raised from."""
    seen: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in seen:
        seen.append(each)
        yield each
        each = each.__cause__ or (each.__context__ if _hides(each) else None)


def _message(error: BaseException, command: Command, folder: Path | None) -> str | None:
    text = str(error)
    if isinstance(error, LIBRARIES) and (words := _of_process(error, text)):
        return words
    if words := _memory(error):
        return f"{words}; {command.less}"
    number, name = _number(error)
    where = name or (str(_fullest(folder)) if number in SPACE else "")
    if number in FILES:
        return (
            f"too many open files{_limit()}; run `ulimit -n 65536` before the command, or use "
            "fewer workers"
        )
    if number in SPACE:
        return f"{where}: {_no_space(number, where, getattr(error, 'space_left', None))}"
    if number in MAY_NOT:
        return (
            f"{where}: cannot be read or written, {MAY_NOT[number]} ({os.strerror(number)}); fix "
            f"that, or choose {command.elsewhere}"
        )
    if number in IN_THE_WAY:
        return f"{where}: cannot be written, {IN_THE_WAY[number]}; choose {command.elsewhere}"
    if number in FAILING:
        return f"{where or folder}: {FAILING[number]} ({os.strerror(number)}); `dmesg` may show why"
    return None


def _of_process(error: BaseException, text: str) -> str | None:
    """Message for errors of worker processes and of the memory shared with them."""
    if "Bus error" in text or _is_of_shm(error, text):
        return (
            f"no shared memory{_free(SHM)} for the images from the data-loading workers; use fewer "
            "workers or workers=0, or give a container more, as docker run --shm-size=8g does"
        )
    if found := KILLED.search(text):
        how = f"was ended ({found[2]})" if found[2] else "exited unexpectedly"
        return (
            f"data-loading worker {found[1]} {how}: it may have run out of memory, which `dmesg` "
            f"shows, or of open files{_limit()}; use fewer workers, or workers=0"
        )
    if isinstance(error, EOFError) and _place(error).startswith("multiprocessing."):
        return "a data-loading worker has exited; it may have run out of open files or memory"
    if type(error).__name__ == "BrokenProcessPool":
        return (
            "the system ended a worker process, as it does if memory runs out; use fewer workers, "
            "or workers=0"
        )
    return None


def _is_of_shm(error: BaseException, text: str) -> bool:
    """Return True if shared memory, or a semaphore, which lies in it, could not be allocated."""
    if "</torch_" in text and any(words in text for words in ("unable to", "could not")):
        return os.strerror(errno.EMFILE) not in text
    return isinstance(error, OSError) and _place(error) == "multiprocessing.synchronize"


def _place(error: BaseException) -> str:
    """Name of the module that raised an exception."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else trace.tb_frame.f_globals.get("__name__", "")


def _memory(error: BaseException) -> str | None:
    """Message that memory or GPU memory has run out, and the size requested; None if it has not."""
    text = str(error)
    asked = f" ({found[1]} requested)" if (found := ASKED.search(text)) else ""
    if isinstance(error, LIBRARIES) and any(words in text for words in NO_GPU_MEMORY):
        return f"out of GPU memory{asked}"
    of_torch = isinstance(error, RuntimeError | ImportError | OSError) and any(
        words in text for words in NO_MEMORY
    )
    if of_torch or isinstance(error, MemoryError) or _number(error)[0] == errno.ENOMEM:
        return f"out of memory{asked}"
    return None


def _number(error: BaseException) -> tuple[int, str]:
    """Return the errno of a system error, 0 for other errors, and the name of its file if known."""
    if not isinstance(error, LIBRARIES):
        return 0, ""
    number, name = getattr(error, "errno", None), getattr(error, "filename", None)
    name = getattr(error, "filename2", None) or name  # of two, the one written
    text = str(error)
    if number is None:  # an error of another process has its number in the text
        found = ERRNO.findall(text)[-1:]
        number, name = (int(found[0][0]), found[0][1]) if found else (None, None)
    if number is None:
        number = next((n for words, n in TEXTS.items() if words in text), None)
    if number is None and any(words in text for words in UNWRITTEN):
        number = errno.ENOSPC
    # Without a name it may not be a file: sockets raise EACCES, too.
    needs_name = number in (*MAY_NOT, *IN_THE_WAY) and number != errno.EROFS
    if number not in KNOWN or (needs_name and not name):
        return 0, ""
    return number, os.fsdecode(name) if isinstance(name, str | bytes) else ""


def _no_space(number: int, where: str, left: int | None) -> str:
    """Message on a full disk. left: bytes that were free before a partial file was removed."""
    if number == errno.EFBIG:
        return "larger than the largest file allowed; try `ulimit -f unlimited`, or another disk"
    if number == errno.EDQUOT:
        return "this user's disk quota is used up; free some space"
    return f"no space left on the disk{_free(Path(where), left)}; free some space"


def _fullest(folder: Path | None) -> Path:
    """Return the folder, of those a run writes to, whose disk has the least free space."""
    cache = Path(os.environ.get("FCNEXP_CACHE", "~/.cache/fcnexp")).expanduser()
    places = (folder or Path.cwd(), cache, Path(tempfile.gettempdir()))
    return min(map(_existing, places), key=lambda place: shutil.disk_usage(place).free)


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.absolute().parents) if each.is_dir())


def _free(path: Path, left: int | None = None) -> str:
    """Free space of a path's disk, in brackets. left: bytes, if they are known."""
    if path == SHM and not path.is_dir():
        return f" ({path} is missing)"
    usage = shutil.disk_usage(_existing(path))
    free = usage.free if left is None else left
    return f" ({_existing(path)}: {free / 2**20:.0f} of {usage.total / 2**20:.0f} MiB free)"


def _limit() -> str:
    try:
        import resource  # Unix only
    except ImportError:
        return ""
    return f" (the limit is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]})"
