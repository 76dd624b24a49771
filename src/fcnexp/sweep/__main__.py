"""Sweeps that were launched: `python -m fcnexp.sweep status|resume|clean DIR`.

status  what became of each job below DIR; exit code 1 where one failed, was stopped, or is gone
resume  give the commands again by which DIR was made; what is done is not done again; one that
        could run others' code is shown instead
clean   remove the folders of failed and stale jobs, never of those that are done or running, nor
        of those that were stopped from outside: they go on from their checkpoints

DIR is the folder of a sweep, say outputs/sweep/fusion_depth; status and clean take any above, too.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fcnexp.errors import ConfigError, DataError
from fcnexp.sweep import launches, ledger, summary, untrusted


def status(folder: Path) -> int:
    """Print what became of each job below a folder; returns the exit code. Raises DataError."""
    jobs = _jobs(folder)
    states = [ledger.state_of(job) for job in jobs]
    summary.print_jobs(jobs, states, folder)
    print(summary.counts(states))
    return int(any(state in ("stopped", "failed", "stale") for state in states))


def resume(folder: Path) -> int:
    """Give the commands of a sweep again; returns the highest exit code. Raises DataError.

    Each of them once, however often it was given. One that is not wanted any more is left out once
    its files in DIR/launches are removed.
    """
    commands = launches.commands(folder)
    if not commands:
        raise DataError(
            f"{folder}: no command in {folder / launches.FOLDER}; give the folder of one sweep, as "
            "python -m fcnexp.train has printed it at its end"
        )
    codes = []
    for typed, where in commands:
        command = [sys.executable, *typed[1:3], *untrusted.kept_in(folder, typed[3:])]
        print(shlex.join(typed), flush=True)
        here = where if Path(where).is_dir() else os.getcwd()
        environment = launches.resuming(typed, where) | untrusted.code_of(here)
        codes.append(subprocess.run(command, cwd=here, env=environment).returncode)
    return max(abs(code) for code in codes)


def clean(folder: Path) -> int:
    """Remove the folders of failed and stale jobs, and say which. Raises DataError."""
    jobs = _jobs(folder)
    removed = [job for job in jobs if ledger.remove(job)]
    for job in removed:
        print(f"removed {job}")
    print(f"{len(removed)} of {len(jobs)} jobs removed")
    stopped = sum(ledger.state_of(job) == "stopped" for job in jobs)
    if stopped:
        print(f"{stopped} stopped left: resume goes on with them from their checkpoints")
    return 0


COMMANDS = {"status": status, "resume": resume, "clean": clean}


def read_arguments(arguments: Sequence[str]) -> tuple[str, Path]:
    """The command and its folder. Raises ConfigError."""
    from fcnexp.config.values import did_you_mean

    if len(arguments) != 2:
        raise ConfigError(
            f"{' '.join(arguments) or 'nothing'} given; say python -m fcnexp.sweep "
            f"{'|'.join(COMMANDS)} DIR"
        )
    name, folder = arguments
    if name not in COMMANDS:
        near = did_you_mean(name, COMMANDS)
        raise ConfigError(f"{name}: no such command{near}; there are {', '.join(COMMANDS)}")
    if not Path(folder).is_dir():
        raise ConfigError(f"{folder}: no such folder; sweeps are in outputs/sweep")
    return name, Path(folder)


def main() -> None:
    """Entry point."""
    from fcnexp.cli import messages

    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    try:
        name, folder = read_arguments(sys.argv[1:])
        code = COMMANDS[name](folder)
    except Exception as error:
        messages.fail_or_raise(error, "sweep")
    raise SystemExit(code)


def _jobs(folder: Path) -> list[Path]:
    jobs = list(ledger.job_folders(folder))
    if not jobs:
        raise DataError(f"{folder}: no job of a sweep below; sweeps are in outputs/sweep")
    return jobs


if __name__ == "__main__":
    main()
