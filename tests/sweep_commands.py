"""Sweeps of tiny trainings with planted faults, run in separate processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

from commands import TINY

from fcnexp.config.compose import PACKAGE

TESTS = Path(__file__).parent
FAULTY = ["regime.loss._target_=planted.FaultyLoss", "logger=csv", "trainer=cpu", "pictures=0"]


def start(*arguments: str, folder: Path, module: str = "fcnexp.train") -> subprocess.Popen:
    (folder / "planted").mkdir(exist_ok=True)
    own = {
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(PACKAGE.parent)]),
        "FCNEXP_CACHE": str(folder / "cache"),
        "PLANTED": str(folder / "planted"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env=os.environ | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def sweep(*arguments: str, folder: Path) -> tuple[int, str, str]:
    """Run a sweep of tiny trainings; return its exit code, output and errors."""
    process = start("-m", *TINY, *FAULTY, *arguments, folder=folder)
    out, err = process.communicate()
    return process.returncode, out, err


def records(folder: Path) -> dict[str, dict]:
    """Content of job.json, by the job's name without its digest."""
    found = sorted(folder.glob("*/job.json"))
    return {file.parent.name.rpartition("_")[0]: json.loads(file.read_text()) for file in found}


def results(folder: Path) -> dict[str, list]:
    """Scores and confusion matrix of each job."""
    return {
        file.parent.name: [
            json.loads(file.read_text())["scores"],
            (file.parent / "confusion.csv").read_text(),
        ]
        for file in sorted(folder.glob("*/result.json"))
    }
