"""Untrusted commands in a sweep's folder: which of them `resume` may run without asking."""

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from fcnexp.errors import DataError

FLAGS = ("-m", "--multirun")
FOLDERS = ("--config-dir", "-cd", "--config-path", "-cp")  # whose files may name any code
NAMES = ("--config-name", "-cn")
OVERRIDE = re.compile(r"(?:~|\+{1,2})?(\w[\w/-]*)((?:\.[\w/-]+)*)(?:@[\w.:/-]*)?(=.*)?")
# Safe keys below `hydra`. Others can run code: searchpath, callbacks, job.env_set, launcher.setup.
HYDRA = re.compile(
    r"mode|verbose|output_subdir|run\.dir|job\.name|sweep\.(dir|subdir|mode)|sweeper\.(max_\w+|"
    r"n_trials|objectives|(sampler|pruner)(\.[a-z]\w*)?)|launcher\.(n_jobs|gpus|backend|"
    r"wait|verbose|batch_size|pre_dispatch|partition|account|qos|constraint|exclude|comment|name|nodes|"
    r"gres|array_parallelism|timeout_min|max_num_timeout|signal_delay_s|stderr_to_stdout|"
    r"mem_gb|(cpus|gpus|tasks|mem)_per_\w+)"
)
PICKLED = re.compile(r"sampler.*cma")  # this sampler unpickles its state from the study's file
# Other resolvers can turn a string into a config node.
TEXT = re.compile(r"\$\{(hydra:|oc\.env:|now:)?[\w.%-]+\}")
OTHER_FILE = re.compile(r"\.\.|(?<!\w)/")  # in an option's name: a file outside the config folders
PLAIN = "only options and plain values run without review"
APART = (
    "a config folder can name any code; to run without review, it must lie in the current folder, "
    "the command must have been given there, and the sweep must be in another of its folders"
)


def refuse(file: Path, argv: Sequence[str], where: str) -> None:
    """Raise DataError if a command could run code that is neither fcnexp's nor in this folder.

    file: launches/ID.json that holds it. argv: after `python -m fcnexp.train`. where: the folder in
    which it was given.
    """
    sweep = file.parent.parent
    if trouble := _trouble(argv, where, sweep):
        safe = ["-P"] if "PYTHONSAFEPATH" in code_of(where) else []
        typed = shlex.join(["python", *safe, "-m", "fcnexp.train", *kept_in(sweep, argv)])
        also = " (without -P if you also trust the code in its folder)" if safe else ""
        raise DataError(
            printable(f"{file}: {trouble}. Read its command; if you trust it, type it{also} ")
            + "to resume the sweep; otherwise remove the file:\n"
            + printable(f"cd {shlex.quote(where)} && {typed}")
        )


def kept_in(sweep: Path, argv: Sequence[str]) -> list[str]:
    """Return a command with the sweep's present folder, to which it may have been moved."""
    quoted = str(sweep.resolve()).replace('"', '\\"')
    places = [
        place
        for place, (before, word) in enumerate(zip(["", *argv], argv, strict=False), start=1)
        if not word.startswith("-") and before not in FOLDERS + NAMES
    ]
    last = max(places, default=len(argv))  # Hydra's overrides must not be split by an option
    return [*argv[:last], f'hydra.sweep.dir="{quoted}"', *argv[last:]]


def printable(text: str) -> str:
    """Escape control characters, which a terminal would interpret, as Python does."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def code_of(folder: str) -> dict[str, str]:
    """Environment in which a Python started in a folder imports the same code as this process."""
    changed, here = {}, os.path.realpath(os.curdir)
    if listed := os.environ.get("PYTHONPATH"):  # its relative paths refer to this folder
        changed["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, listed.split(os.pathsep)))
    if os.path.realpath(folder) != here or here not in map(os.path.realpath, sys.path):
        changed["PYTHONSAFEPATH"] = "1"  # `python -m` would import from the folder first
    return changed


def _trouble(argv: Sequence[str], where: str, sweep: Path) -> str:
    if odd := [word for word in argv if not word.isprintable()]:
        return f"{odd[0]}: contains unprintable characters; {PLAIN}"
    words = iter(argv)
    for word in words:
        flag, given, value = word.partition("=")
        if flag in FOLDERS + NAMES:
            value = value if given else next(words, "")
            if flag in NAMES and not re.fullmatch(r"\w+", value):
                return f"{flag} {value}: could be any file; {PLAIN}"
            if flag in FOLDERS and not _is_users(flag, value, where, sweep):
                return f"{flag} {value}: {APART}"
        elif word not in FLAGS and not _is_plain(word):
            return f"{word}: could run code that is not fcnexp's; {PLAIN}"
    return ""


def _is_plain(word: str) -> bool:
    found = OVERRIDE.fullmatch(word)
    if not found or "_target_" in word or "${" in TEXT.sub("", word):
        return False
    root, inner, value = found[1], found[2][1:], found[3] or ""
    if root == "hydra":
        return HYDRA.fullmatch(inner) is not None and not PICKLED.search(word.lower())
    return bool(inner) or not OTHER_FILE.search(value)  # an option's name, if it is a group


def _is_users(flag: str, value: str, where: str, sweep: Path) -> bool:
    """Return True if a config folder lies in the current folder and did not come with the sweep."""
    here, folder = Path.cwd(), Path(where, value).resolve()
    if flag in ("--config-path", "-cp") and not Path(value).is_absolute():
        return False  # relative to a file of the package
    if not Path(where).is_absolute() or Path(where).resolve() != here or folder == here:
        return False
    if value.startswith("-") or not folder.is_relative_to(here):
        return False
    top = here / folder.relative_to(here).parts[0]
    return not any(path.is_relative_to(top) for path in (sweep.absolute(), sweep.resolve()))
