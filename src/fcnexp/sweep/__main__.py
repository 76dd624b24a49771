"""Inspect, resume or clean sweeps: `python -m fcnexp.sweep status|resume|clean DIR`.

status  list the state of each job below DIR; exit code 1 if one failed, was stopped, or is stale
resume  run the commands of DIR again; finished jobs are skipped; a command that could run other
        people's code is printed instead
clean   remove the folders of failed and stale jobs; keeps jobs that are done, running, or stopped
        by a signal, which resume continues from their checkpoints

DIR is the folder of a sweep, for example outputs/sweep/fusion_depth; status and clean also accept
a folder above it.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fcnexp import __version__
from fcnexp.errors import ConfigError, DataError
from fcnexp.sweep import launches, ledger, queued, summary, untrusted


def status(folder: Path) -> int:
    """Print the state of each job below a folder; return the exit code. Raises DataError."""
    known, there, unknown = dict[Path, str](), dict[Path, str](), False
    for depth in ("", "*/", "*/*/"):
        for file in folder.glob(depth + queued.FILE):
            held = queued.in_slurm(file.parent)
            unknown = unknown or held is None
            known |= queued.read(file.parent)
            there |= held or {}
    begun = list(ledger.job_folders(folder))
    seen, root = {job.resolve() for job in begun}, folder.resolve()
    waiting = sorted(folder / job.relative_to(root) for job in known if job not in seen)
    jobs = begun + waiting or _jobs(folder)
    states = [queued.state_of(job, known, None if unknown else there) for job in jobs]
    summary.print_jobs(jobs, states, folder)
    print(summary.counts(states))
    if unknown:
        print("squeue does not answer here: jobs shown as queued may have left Slurm")
    return int(any(state in ("stopped", "failed", "stale", "cancelled") for state in states))


def resume(folder: Path) -> int:
    """Run each distinct command of a sweep again; return the highest exit code. Raises DataError.

    To leave out a command, remove its files in DIR/launches.
    """
    commands = launches.commands(folder)
    if not commands:
        raise DataError(
            f"{folder}: no command in {folder / launches.FOLDER}; give the folder of one sweep, "
            "which python -m fcnexp.train prints at the end"
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
    """Remove the folders of failed and stale jobs, and print them. Raises DataError."""
    jobs = _jobs(folder)
    removed = [job for job in jobs if ledger.remove(job)]
    for job in removed:
        print(f"removed {job}")
    print(f"{len(removed)} of {len(jobs)} jobs removed")
    stopped = sum(ledger.state_of(job) == "stopped" for job in jobs)
    if stopped:
        print(f"{stopped} stopped jobs kept: resume continues them from their checkpoints")
    return 0


COMMANDS = {"status": status, "resume": resume, "clean": clean}


def read_arguments(arguments: Sequence[str]) -> tuple[str, Path]:
    """Return the command and its folder. Raises ConfigError."""
    from fcnexp.config.values import did_you_mean

    if len(arguments) != 2:
        raise ConfigError(
            f"{' '.join(arguments) or 'nothing'} given; type python -m fcnexp.sweep "
            f"{'|'.join(COMMANDS)} DIR"
        )
    name, folder = arguments
    if name not in COMMANDS:
        near = did_you_mean(name, COMMANDS)
        raise ConfigError(f"{name}: no such command{near}; choose one of {', '.join(COMMANDS)}")
    if not Path(folder).is_dir():
        raise ConfigError(f"{folder}: no such folder; sweeps are in outputs/sweep")
    return name, Path(folder)


def main() -> None:
    """Entry point."""
    from fcnexp.cli import messages

    if {"-h", "--help", "--version"} & set(sys.argv[1:]):
        print(f"fcnexp {__version__}" if "--version" in sys.argv[1:] else __doc__)
        return
    try:
        name, folder = read_arguments(sys.argv[1:])
        code = COMMANDS[name](folder)
    except Exception as error:
        messages.fail_or_raise(error, "sweep")
    raise SystemExit(code)


def _jobs(folder: Path) -> list[Path]:
    if jobs := list(ledger.job_folders(folder)):
        return jobs
    raise DataError(f"{folder}: contains no jobs of a sweep; sweeps are in outputs/sweep")


if __name__ == "__main__":
    main()
