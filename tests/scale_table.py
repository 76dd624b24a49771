"""Measure what large inputs cost, and print the table of docs/RELIABILITY.md.

`python tests/scale_table.py FOLDER [NAME ...]` makes its inputs below an empty folder.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from made_up_runs import write_job
from PIL import Image

LINKS = 30_000  # to one file; ext4 allows 65,000
QUICK = ["logger=csv", "trainer=cpu", "workers=0", "pictures=0", "regime.steps=1"]
QUICK += ["regime.score_every=1", "backbone.widths=[4,4,6,6,8,8]", "regime.batch_size=2"]


class Cost(NamedTuple):
    """Seconds of a command, and until it printed what was waited for; peak memory in MiB."""

    seconds: float
    until: float
    mib: int


def measured(folder: Path, *command: str, code: int = 0, wait_for: bytes = b"") -> Cost:
    """Run a command to its end; exits if that is not the one expected."""
    begin, until = time.monotonic(), 0.0
    environment = os.environ | {"FCNEXP_CACHE": str(folder / "cache"), "WANDB_MODE": "offline"}
    with (folder / "out.txt").open("wb") as out:
        program = [sys.executable, "-m", *command]
        process = subprocess.Popen(program, stdout=out, stderr=subprocess.STDOUT, env=environment)
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            if not until and wait_for in (folder / "out.txt").read_bytes():
                until = time.monotonic() - begin
            time.sleep(0.05)
    _, status, used = ended
    if os.waitstatus_to_exitcode(status) != code:
        sys.exit(f"{' '.join(command)}:\n{(folder / 'out.txt').read_text()[-2000:]}")
    return Cost(time.monotonic() - begin, until, used.ru_maxrss // 1024)


def pairs(folder: Path, count: int) -> Path:
    """A folder of data with so many images, and as many masks, of 32 x 32 pixels."""
    draw = np.random.default_rng(0)
    for name, shape in (("images", (32, 32, 3)), ("masks", (32, 32))):
        (folder / name).mkdir(parents=True)
        for at in range(count):
            path = folder / name / f"{at:06d}.png"
            if at % LINKS == 0:
                top = 256 if name == "images" else 3
                Image.fromarray(draw.integers(0, top, shape, np.uint8)).save(source := path)
            else:
                os.link(source, path)
    (folder / "classes.yaml").write_text("classes: [a, b, c]\n")
    names = [f"{at:06d}\n" for at in range(count)]
    (folder / "train.txt").write_text("".join(names[10:]))
    (folder / "val.txt").write_text("".join(names[:10]))
    return folder


def files_200_000(folder: Path) -> str:
    """Training of one step, which begins and ends with all files."""
    base = [*QUICK, "data=folder", "augment=none"]
    few, many = (
        measured(
            folder,
            *("fcnexp.train", *base, f"data.root={pairs(folder / f'pairs{count}', count)}"),
            f"hydra.run.dir={folder / f'run{count}'}",
            wait_for=b"step 1 of",
        )
        for count in (100, 100_000)
    )
    start, end = many.until - few.until, many.seconds - many.until - few.seconds + few.until
    more = f"{start:.1f} s more to the first step ({few.until:.1f} s), {end:.1f} s at the end"
    return f"{more} | {many.mib - few.mib} MiB more"


def status_of_2000_jobs(folder: Path) -> str:
    for at in range(2000):
        state = ("done", "failed", "running")[at % 3]
        write_job(folder / "sweep" / f"job{at}", state, overrides=[f"seed={at}"], type="ValueError")
    cost = measured(folder, "fcnexp.sweep", "status", str(folder / "sweep"), code=1)
    return f"{cost.seconds:.1f} s | {cost.mib} MiB"


def report_of_500_runs(folder: Path) -> str:
    """Of 50 rows, 10 seeds each; counts of 200 images of 8 classes."""
    sets = ["data.num_train=4", "data.num_val=200", "data.side=[64,64]"]
    measured(folder, "fcnexp.train", *QUICK, *sets, f"hydra.run.dir={folder / 'run'}")
    config = yaml.safe_load((folder / "run/config.yaml").read_text())
    result = json.loads((folder / "run/result.json").read_text())
    for at in range(500):
        copied = folder / "runs" / f"{at}"
        shutil.copytree(folder / "run", copied)
        config["seed"], config["regime"]["lr"] = at % 10, 0.001 * (1 + at // 10)
        result["seed"] = at % 10
        (copied / "config.yaml").write_text(yaml.safe_dump(config))
        (copied / "result.json").write_text(json.dumps(result))
    output = folder / "report.html"
    cost = measured(folder, "fcnexp.report", str(folder / "runs"), f"output={output}")
    return f"{cost.seconds:.1f} s, page of {output.stat().st_size / 1e6:.1f} MB | {cost.mib} MiB"


def metrics_of_1_000_000_rows(folder: Path) -> str:
    """In the report of the run."""
    measured(folder, "fcnexp.train", *QUICK, f"hydra.run.dir={folder / 'run'}")
    with (folder / "run/metrics.csv").open("w") as file:
        file.write("step,train/loss,val/miou\n")
        for step in range(1, 1_000_001):
            file.write(f"{step},{1 / step},{0.5 if step % 1000 == 0 else ''}\n")
    output = folder / "report.html"
    cost = measured(folder, "fcnexp.report", str(folder / "run"), f"output={output}")
    return f"{cost.seconds:.1f} s, page of {output.stat().st_size / 1e6:.1f} MB | {cost.mib} MiB"


def dry_run_of_200_jobs(folder: Path) -> str:
    command = [
        "-m",
        "seed=range(200)",
        "dry_run=true",
        "logger=csv",
        f"hydra.sweep.dir={folder}/sw",
    ]
    cost = measured(folder, "fcnexp.train", *command)
    return f"{cost.seconds:.1f} s | {cost.mib} MiB"


def schedule_of_1_000_000_steps(folder: Path) -> str:
    """A dry run, which composes the config and builds the net and the schedule."""
    steps = ["regime.steps=1000000", "dry_run=true", "logger=csv"]
    cost = measured(folder, "fcnexp.train", *steps)
    return f"{cost.seconds:.1f} s | {cost.mib} MiB"


ROWS: dict[str, Callable[[Path], str]] = {
    each.__name__: each
    for each in (
        files_200_000,
        status_of_2000_jobs,
        report_of_500_runs,
        metrics_of_1_000_000_rows,
        schedule_of_1_000_000_steps,
        dry_run_of_200_jobs,
    )
}


def main() -> None:
    """Print a line of the table for each row, or for those that are named."""
    home, *names = sys.argv[1:]
    for name in names or ROWS:
        folder = Path(home).resolve() / name
        folder.mkdir(parents=True)
        print(f"| {name.replace('_', ' ')} | {ROWS[name](folder)} |", flush=True)


if __name__ == "__main__":
    main()
