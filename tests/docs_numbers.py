"""Replay the figures that docs/measured.yaml lists, and print what is said and what is true.

python tests/docs_numbers.py [--write] [NAME ...]  exits 1 if a figure is off by more than allowed

Not a test; `make docs-numbers` runs it. Without names, it replays every run of the table. Each runs
in a new, empty folder with an empty cache, so `outputs/` and `~/.cache/fcnexp` are left alone.
--write puts the figures that were found into the table and onto the pages.

A virtual machine may be half as fast an hour later. A time is therefore compared at the same pace
too: before and after each run, a fixed piece of work is timed (`pace`), and the time that was found
is divided by the ratio of that to the pace stored with the figure; a rate is multiplied by it. A
figure is off if it is off both as measured, which is printed, and at the same pace.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from documents import ROOT
from measured import (
    BRACED,
    FIGURE,
    Passage,
    Run,
    amount,
    load,
    spelled,
    write,
    write_pace,
)

COLUMNS = ("run", "page", "figure", "said", "found", "pace", "within", "")
PACES = 8  # tries
TAIL = 15  # lines shown of the output of a command that failed
PREAMBLE = """set -e
unset ARGS MAKEFLAGS MAKELEVEL  # of the `make docs-numbers` that runs this
make() { command make --file="$ROOT/Makefile" --old-file=setup BIN="$BIN" "$@"; }
"""  # make uses this Python's environment, and installs nothing


class Row(NamedTuple):
    """One figure of a passage, replayed. found: empty if it could not be read.

    pace, before: seconds of the fixed work, now and when the figure was taken, if that is known.
    """

    run: str
    passage: Passage
    label: str
    said: str
    found: str
    verdict: str
    pace: float = 0
    before: float | None = None

    def cells(self) -> tuple[str, ...]:
        """Columns of the printed line."""
        page, within = Path(self.passage.page).name, self.passage.tolerance(self.said)
        paced = self.passage.is_paced(self.said) and self.before and self.pace
        pace = f"{self.pace / self.before:.2f}" if paced else ""
        return self.run, page, self.label, self.said, self.found or "-", pace, within, self.verdict


class Done(NamedTuple):
    """What shell lines gave.

    memory: peak of the largest process, in bytes; at least this one's, as Linux lets a new process
    start with its parent's peak. pace: seconds of the fixed work, before and after.
    """

    code: int
    seconds: float
    memory: int
    output: str
    pace: float = 0


class Unreadable(Exception):
    """A figure is not where the table says."""


def replay_all(root: Path, runs: list[Run], where: Path) -> list[Row]:
    """Replay runs in turn, printing a line for each figure. where: holds their folders."""
    expected = [row for run in runs for row in unread(run, "")]
    lines = [COLUMNS, *(row.cells() for row in expected)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    widths[4] = max(widths[3:5])  # figures that are found are about as long as those that are said
    print_line(COLUMNS, widths)
    rows, folders = [], {}
    for run in runs:
        folders[run.name] = folders.get(run.follows, where / run.name)
        missing = [path for path in run.needs if not (root / path).exists()]
        if missing:
            new = unread(run, f"skipped: no {', '.join(missing)}")
        else:
            new = replay(root, run, folders[run.name])
        for row in new:
            print_line(row.cells(), widths)
        rows += new
    return rows


def print_line(cells: tuple[str, ...], widths: list[int]) -> None:
    """Print a line of the table."""
    line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    print(line.rstrip(), flush=True)


def unread(run: Run, verdict: str) -> list[Row]:
    """Rows of a run whose figures were not found."""
    return [row for passage in run.passages for row in unread_passage(run, passage, verdict)]


def unread_passage(run: Run, passage: Passage, verdict: str) -> list[Row]:
    """Rows of a passage whose figures were not found."""
    named = zip(passage.labels(), passage.said(), strict=True)
    return [Row(run.name, passage, label, said, "", verdict) for label, said in named]


def replay(root: Path, run: Run, folder: Path) -> list[Row]:
    """Run the commands in a folder, and compare what they give with what is said."""
    folder.mkdir(exist_ok=True)
    code, output, timed = 0, "", Done(0, 0, 0, "")
    for part, lines in enumerate((run.before, run.typed(), run.after)):
        before = pace() if part == 1 else 0
        done = shell(root, lines, folder)
        code, output = done.code, output + done.output
        timed = done._replace(pace=(before + pace()) / 2) if part == 1 else timed
        if code:
            print("\n".join(output.splitlines()[-TAIL:]))
            return unread(run, f"off: exit code {code}")
    done = timed._replace(output=output)
    return [row for passage in run.passages for row in compare(run, passage, done, folder)]


def pace() -> float:
    """Seconds that a fixed piece of work takes, products of matrices and a loop of Python.

    Mean of several tries, since other work on the host comes and goes.
    """
    import numpy as np

    matrix = np.random.default_rng(0).random((1024, 1024), np.float32)
    start = time.monotonic()
    for _ in range(PACES):
        for _ in range(50):
            matrix @ matrix
        sum(number % 7 for number in range(5_000_000))
    return (time.monotonic() - start) / PACES


def shell(root: Path, lines: list[str], folder: Path) -> Done:
    """Run lines in one shell, up to the first that fails."""
    binaries = Path(sys.executable).parent
    environment = os.environ | {
        "ROOT": str(root),
        "SHARED": str(root.parent / "shared"),
        "BIN": str(binaries),
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(root / "src"),
        "FCNEXP_CACHE": str(folder / ".cache"),
    }
    command = ["bash", "-c", PREAMBLE + "\n".join(lines)]
    with (folder / ".output").open("w+") as output:
        start = time.monotonic()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        return Done(process.returncode, seconds, 1024 * usage.ru_maxrss, output.read())


def compare(run: Run, passage: Passage, done: Done, folder: Path) -> Iterator[Row]:
    """Yield a row for each figure of a passage."""
    try:
        values = read(passage, done, folder)
    except Unreadable as reason:
        yield from unread_passage(run, passage, f"off: {reason}")
        return
    relative = done.pace / run.pace if run.pace and done.pace else 1
    for label, said, value in zip(passage.labels(), passage.said(), values, strict=True):
        found = (value, passage.at_pace(value, said, relative))
        verdict = "ok" if any(passage.is_close(each, said) for each in found) else "off"
        text = spelled(value, said, passage.unit)
        yield Row(run.name, passage, label, said, text, verdict, done.pace, run.pace)


def read(passage: Passage, done: Done, folder: Path) -> list[float]:
    """Values of a passage's figures, in base units. Raises Unreadable."""
    if passage.read in ("time", "memory"):
        return [done.seconds if passage.read == "time" else float(done.memory)]
    text = done.output
    if passage.read != "output":
        paths = list(folder.glob(passage.read))
        if len(paths) != 1:
            raise Unreadable(f"{len(paths)} files {passage.read}")
        text = paths[0].read_text()
        if paths[0].suffix == ".json":
            return [look_up(key, json.loads(text)) for key in passage.find]
    return [search(pattern, text, passage.unit) for pattern in patterns(passage)]


def look_up(key: str, values: dict) -> float:
    """Return a number of nested JSON values by its dotted key."""
    try:
        for part in key.split("."):
            values = values[part]
        return float(values)
    except (KeyError, TypeError) as error:
        raise Unreadable(f"no number {key}") from error


def patterns(passage: Passage) -> tuple[str, ...]:
    """Return `find`, or the passage itself as a pattern for its only figure."""
    if passage.find:
        return passage.find
    before, _, after = BRACED.split(passage.text)
    return (f"{re.escape(before)}({FIGURE.pattern}){re.escape(after)}",)


def search(pattern: str, text: str, unit: str) -> float:
    """Return the first figure that matches."""
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise Unreadable(f"no {pattern}")
    return amount(found[1], unit)


def choose(runs: list[Run], names: list[str]) -> list[Run]:
    """Return the runs of these names, or all, with the runs that they follow."""
    known = {run.name: run for run in runs}
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"error: {', '.join(unknown)}: no such run; choose from {', '.join(known)}")
    wanted = {each for name in names or known for each in (name, known[name].follows)}
    return [run for run in runs if run.name in wanted]


def corrections(rows: list[Row]) -> dict[Passage, Passage]:
    """Passages whose figures differ from those that were found, with the latter."""
    found: dict[Passage, list[str]] = {}
    for row in rows:
        found.setdefault(row.passage, []).append(row.found or row.said)
    corrected = {passage: passage.with_figures(figures) for passage, figures in found.items()}
    return {old: new for old, new in corrected.items() if old != new}


def main(root: Path = ROOT) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="runs of the table; default: all")
    parser.add_argument("--write", action="store_true", help="correct the pages and the table")
    asked = parser.parse_args()
    runs = choose(load(root), asked.names)
    with TemporaryDirectory(prefix="docs_numbers_") as folder:
        rows = replay_all(root, runs, Path(folder))
    counts = {word: sum(r.verdict.startswith(word) for r in rows) for word in ("ok", "off", "skip")}
    print(f"{counts['ok']} ok, {counts['off']} off, {counts['skip']} skipped")
    for old, new in corrections(rows).items():
        print(f"{'written to' if asked.write else 'found, for'} {old.page}: {new.text}")
        if asked.write:
            write(root, old, new)
    taken = [row for row in rows if row.found and row.passage.is_paced(row.said)]
    for name, seconds in {row.run: row.pace for row in taken}.items():
        if asked.write:
            write_pace(root, name, seconds)
    sys.exit(int(counts["off"] > 0))


if __name__ == "__main__":
    main()
