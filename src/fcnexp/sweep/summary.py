"""Printed summary of a sweep: unfinished jobs, counts, comparison of the runs."""

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fcnexp.errors import UserError
from fcnexp.sweep import launches, ledger
from fcnexp.sweep.job import place_of
from fcnexp.system.visible import visible


def finish(launch: launches.Launch) -> int:
    """Print the states of a launch's jobs, and compare those that are done.

    Returns the exit code: 0 if all are done or run elsewhere.
    """
    notes = launch.notes()
    if not notes:
        launch.forget()
        return 0
    jobs = [note.folder for note in notes]
    left = {note.folder for note in notes if note.outcome == "queued"}
    states = [ledger.state_of(folder) for folder in jobs]
    states = [
        "queued" if folder in left and state != "done" else state
        for folder, state in zip(jobs, states, strict=True)
    ]
    done = [folder for folder, state in zip(jobs, states, strict=True) if state == "done"]
    others = {f: s for f, s in zip(jobs, states, strict=True) if s not in ("done", "queued")}
    if others:
        print_jobs(list(others), list(others.values()), launch.sweep)
    now = sum(note.outcome == "now" for note in notes)
    print(counts(states, now=now))
    if not left:
        launch.close()  # jobs in Slurm still read and write their notes
    shown = shlex.quote(_relative(launch.sweep))
    if done:
        _compare([job for job in jobs if job.is_dir()], launch.sweep)  # some were not started
        print(f"to compare the runs: python -m fcnexp.report {shown}")
    if len(done) == len(jobs):
        return 0
    if left:
        print(f"to see the jobs: python -m fcnexp.sweep status {shown}")
    print(f"to resume: run the same command again, or python -m fcnexp.sweep resume {shown}")
    return int(any(state not in ("done", "running", "queued") for state in states))


def print_jobs(jobs: Sequence[Path], states: Sequence[str], sweep: Path) -> None:
    """Print a table of jobs: name, state, attempts, seconds, reason."""
    table = Table(title="Jobs", title_justify="left")
    for name in ("job", "state", "attempts", "seconds", "why"):
        right = name in ("attempts", "seconds")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for job, state in zip(jobs, states, strict=True):
        record = ledger.read(job)
        name = str(job.relative_to(sweep)) if job.is_relative_to(sweep) else str(job)
        took = f"{record.seconds:.0f}" if record and record.seconds is not None else "-"
        attempts = str(record.attempts if record else 0)
        table.add_row(*(escape(visible(t)) for t in (name, state, attempts, took, why(job, state))))
    Console(highlight=False).print(table)


def why(job: Path, state: str) -> str:
    """Reason why a job is not done, in one line; "" if it is done."""
    record = ledger.read(job)
    if state == "done":
        return ""
    if state == "running":
        return place_of(job)
    if state == "queued":
        return "in Slurm's queue"
    if state == "cancelled":
        return "it left Slurm before it started"
    if state in ("failed", "stopped") and record is not None and record.error:
        first = (record.error["message"] or "").strip().splitlines()[:1]
        return f"{record.error['type']}: {''.join(first)}"
    if state == "stale" and record is not None and record.state == "done":
        return "its result is missing or damaged"
    if state == "stale":
        return f"its process died without recording why ({place_of(job)})"
    return "an earlier job failed, or the sweep was stopped"


def counts(states: Sequence[str], now: int | None = None) -> str:
    """Count the jobs by state, in one line. now: number of jobs done by this launch."""
    found = Counter(states)
    parts = [f"{found[state]} {state}" for state in ledger.STATES if found[state]]
    if now is not None and found["done"]:
        parts[0] += f" ({now} now, {found['done'] - now} before)"
    return f"{len(states)} job{'s' * (len(states) != 1)}: {', '.join(parts)}"


def _compare(jobs: Sequence[Path], sweep: Path) -> None:
    from fcnexp.reporting.writing import report

    try:
        report([_relative(job) for job in jobs], _relative(sweep), None)
    except (UserError, OSError) as error:  # the summary still appears
        print(f"not compared: {error}", file=sys.stderr)


def _relative(folder: Path) -> str:
    """Shortest path that can be typed in the current folder."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)
