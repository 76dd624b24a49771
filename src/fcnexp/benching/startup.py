"""Part `startup`: seconds from a command to its answer, on the clock and of the processor."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, mkdtemp

import torch

from fcnexp.benching.measure import interleaved
from fcnexp.benching.tables import Row, Table
from fcnexp.config.schema import BenchConfig

MOST_ROUNDS = 3
ANSWERS = {  # arguments, and the exit code that they should have
    "python -c 'import torch', for comparison": (["-c", "import torch"], 0),
    "python -m fcnexp.train --help": (["-m", "fcnexp.train", "--help"], 0),
    "python -m fcnexp.predict --help": (["-m", "fcnexp.predict", "--help"], 0),
    "a typo: fcnexp.train modle=fcn8s": (["-m", "fcnexp.train", "modle=fcn8s"], 1),
    "a wrong value: fcnexp.train regime.lr=9": (["-m", "fcnexp.train", "regime.lr=9"], 1),
    "python -m fcnexp.train --cfg job": (["-m", "fcnexp.train", "--cfg", "job"], 0),
}
STEPS = {  # the training's overrides
    "fcnexp.train logger=csv, to the end of the first step": ["logger=csv"],
    "fcnexp.train logger=wandb, offline, to the end of the first step": ["logger=wandb"],
}


def startup(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """One table: commands by name. Before it is timed each runs once, which writes bytecode."""
    with TemporaryDirectory() as folder:
        processor: dict[str, list[float]] = {}
        ways: dict[str, Callable[[], None]] = {
            name: partial(answer, arguments, code, folder, processor.setdefault(name, []))
            for name, (arguments, code) in ANSWERS.items()
        }
        first: dict[str, list[float]] = {name: [] for name in STEPS}
        for name, overrides in STEPS.items():
            processor[name] = []
            ways[name] = partial(first_step, asked, overrides, folder, first[name], processor[name])
        rounds = min(MOST_ROUNDS, asked.rounds)
        seconds = interleaved(ways, rounds, torch.device("cpu"))
    for name in STEPS:
        seconds[name] = first[name][-rounds:]  # its process ends a little later
    rows = [
        Row(name, each, {"processor (s)": median(processor[name][-rounds:])})
        for name, each in seconds.items()
    ]
    note = (
        f"Each a process of its own, with bytecode and files in the cache. The training is the "
        f"default one, but of data.num_train={asked.images}, written before it is timed."
    )
    yield Table("From a command to its answer", rows, notes=[note])


def answer(arguments: list[str], code: int, folder: str, processor: list[float]) -> None:
    """Run Python with these arguments to its end. Raises RuntimeError on another exit code."""
    run_python(arguments, code, folder, processor)


def first_step(
    asked: BenchConfig,
    overrides: list[str],
    folder: str,
    first: list[float],
    processor: list[float],
) -> None:
    """Train by the default command until a step is done; keeps the seconds until then."""
    small = [f"data.num_train={asked.images}", "data.num_val=2", f"data.root={folder}/cache"]
    where = [f"hydra.run.dir={mkdtemp(dir=folder)}/run"]
    arguments = ["-m", "fcnexp.benching.first_step", *overrides, *small, *where]
    start = time.time()
    told = run_python(arguments, 0, folder, processor)
    first.append(float(told.split()[-1]) - start)


def run_python(arguments: list[str], code: int, folder: str, processor: list[float]) -> str:
    """What a Python process prints; keeps the seconds of processor that it took."""
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path, "WANDB_MODE": "offline"}
    # Bytecode is kept, as in any installation, even where this process was told not to.
    environment["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "bytecode")
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=folder, env=environment
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != code:
        raise RuntimeError(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
    processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return done.stdout
