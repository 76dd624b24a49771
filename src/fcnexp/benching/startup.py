"""Part `startup`: wall-clock and processor seconds from a command to its answer."""

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
from typing import Any

import torch

from fcnexp.benching.measure import interleaved
from fcnexp.benching.tables import Row, Table
from fcnexp.config.schema import BenchConfig

MOST_ROUNDS = 3
ANSWERS = {  # arguments and expected exit code
    "python -c 'import torch', for comparison": (["-c", "import torch"], 0),
    "python -m fcnexp.train --help": (["-m", "fcnexp.train", "--help"], 0),
    "python -m fcnexp.predict --help": (["-m", "fcnexp.predict", "--help"], 0),
    "a typo: fcnexp.train modle=fcn8s": (["-m", "fcnexp.train", "modle=fcn8s"], 1),
    "a wrong value: fcnexp.train regime.lr=9": (["-m", "fcnexp.train", "regime.lr=9"], 1),
    "python -m fcnexp.train --cfg job": (["-m", "fcnexp.train", "--cfg", "job"], 0),
}
STEPS = {  # overrides of the training
    "fcnexp.train logger=csv, to the end of the first step": ["logger=csv"],
    "fcnexp.train logger=wandb, offline, to the end of the first step": ["logger=wandb"],
}
# `python -m fcnexp.train` that exits after its first step; its last line is the time, since 1970.
FIRST_STEP = """
import os, time
from torch.optim.optimizer import register_optimizer_step_post_hook
from fcnexp import train
def report_and_exit(*_):
    print(f"\\n{time.time()}", flush=True)
    os._exit(0)
register_optimizer_step_post_hook(report_and_exit)
train.main()
"""


def startup(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """Yield one table of commands; an untimed run of each writes bytecode first."""
    with TemporaryDirectory() as folder:
        processor: dict[str, list[float]] = {name: [] for name in (*ANSWERS, *STEPS)}
        commands: dict[str, Callable[[], Any]] = {
            name: partial(run_python, arguments, code, folder, processor[name])
            for name, (arguments, code) in ANSWERS.items()
        }
        first: dict[str, list[float]] = {name: [] for name in STEPS}
        for name, overrides in STEPS.items():
            commands[name] = partial(
                train_one_step, asked, overrides, folder, first[name], processor[name]
            )
        rounds = min(MOST_ROUNDS, asked.rounds)
        seconds = interleaved(commands, rounds, torch.device("cpu"))
    for name in STEPS:
        seconds[name] = first[name][-rounds:]  # without the end of the process
    rows = [
        Row(name, each, {"processor (s)": median(processor[name][-rounds:])})
        for name, each in seconds.items()
    ]
    note = (
        "Each command runs in a separate process, with bytecode and files in the cache. The "
        f"training is the default one with data.num_train={asked.images}, generated before timing."
    )
    yield Table("From a command to its answer", rows, notes=[note])


def train_one_step(
    asked: BenchConfig,
    overrides: list[str],
    folder: str,
    first: list[float],
    processor: list[float],
) -> None:
    """Run the default training until its first step is done; appends the seconds to `first`."""
    small = [f"data.num_train={asked.images}", "data.num_val=2", f"data.root={folder}/cache"]
    where = [f"hydra.run.dir={mkdtemp(dir=folder)}/run"]
    start = time.time()
    printed = run_python(["-c", FIRST_STEP, *overrides, *small, *where], 0, folder, processor)
    first.append(float(printed.split()[-1]) - start)


def run_python(arguments: list[str], code: int, folder: str, processor: list[float]) -> str:
    """Run Python and return its output; appends its processor seconds to `processor`.

    Raises RuntimeError if the exit code is not `code`.
    """
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path, "WANDB_MODE": "offline"}
    # Bytecode is written, as in a normal installation, even if this process may not.
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
