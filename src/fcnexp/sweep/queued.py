"""Jobs of a sweep that were submitted to Slurm and left there: `queued.json` in its folder.

The ledger knows a job from its first step on. Before, only Slurm knows whether it still waits.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from fcnexp.errors import DataError
from fcnexp.reporting.record_checks import read_json
from fcnexp.sweep import ledger
from fcnexp.system.atomic import write_atomically

FILE = "queued.json"
LOCK = "queued.lock"
SECONDS = 20.0  # to wait for squeue, whose server may be busy
SLURM_ID = re.compile(r"\d+(_\d+)?")


def read(sweep: Path) -> dict[Path, str]:
    """Return Slurm's number of each job that was submitted, by folder; {} if there is no record.

    Entries that name no folder below the sweep, or no number, are left out. Raises DataError if
    the file is unreadable.
    """
    file, root = sweep / FILE, sweep.resolve()
    if not file.exists():
        return {}
    try:
        stored = read_json(file)
        found = {(root / str(name)).resolve(): str(number) for name, number in stored.items()}
    except (ValueError, AttributeError) as error:
        raise DataError(f"{file}: damaged ({error}); if squeue lists no job, remove it") from None
    return {
        folder: number
        for folder, number in found.items()
        if folder.is_relative_to(root) and folder != root and SLURM_ID.fullmatch(number)
    }


def add(sweep: Path, numbers: Mapping[Path, str]) -> None:
    """Record Slurm's numbers of submitted jobs. Call while holding the lock `LOCK`."""
    root = sweep.resolve()
    known = read(sweep) | {folder.resolve(): number for folder, number in numbers.items()}
    content = {str(folder.relative_to(root)): number for folder, number in known.items()}
    write_atomically(sweep / FILE, json.dumps(content, indent=2) + "\n")


def in_slurm(sweep: Path) -> dict[Path, str] | None:
    """Return the submitted jobs that Slurm still holds, as `read` does; None if it does not say."""
    known = read(sweep)
    if not known:
        return {}
    if shutil.which("squeue") is None:
        return None
    arrays = sorted({number.partition("_")[0] for number in known.values()})
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--jobs={','.join(arrays)}"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return None
    if asked.returncode and "Invalid job id" not in asked.stderr:
        return None
    there = set(asked.stdout.split())
    return {folder: number for folder, number in known.items() if number in there}


def state_of(folder: Path, known: Mapping[Path, str], there: Mapping[Path, str] | None) -> str:
    """Return the job's state: the ledger's, or queued, or cancelled (it left Slurm unstarted).

    known, there: from `read` and `in_slurm`. Without Slurm's word, a submitted job is queued.
    """
    state, folder = ledger.state_of(folder), folder.resolve()
    if state in ("done", "running") or folder not in known:
        return state
    if folder in (known if there is None and state == "not started" else there or {}):
        return "queued"
    return "cancelled" if state == "not started" else state
