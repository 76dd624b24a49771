"""Measure what large inputs cost, and print the table of docs/RELIABILITY.md.

`python tests/scale_table.py FOLDER [NAME ...]` makes its inputs below an empty folder.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml
from made_up_runs import write_job
from PIL import Image

FCNEXP = [sys.executable, "-m"]
LINKS = 30_000  # to one file; ext4 allows 65,000
QUICK = ["logger=csv", "trainer=cpu", "workers=0", "pictures=0", "regime.steps=1"]
QUICK += ["regime.score_every=1", "backbone.widths=[4,4,6,6,8,8]", "regime.batch_size=2"]


def measured(folder: Path, *command: str, code: int = 0) -> tuple[float, int]:
    """Run a command; return its seconds and the peak memory of it and its children, in MiB."""
    begin = time.monotonic()
    with (folder / "out.txt").open("wb") as out:
        process = os.posix_spawn(
            sys.executable,
            [*FCNEXP, *command],
            os.environ | {"FCNEXP_CACHE": str(folder / "cache"), "WANDB_MODE": "offline"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, out.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, out.fileno(), 2),
            ],
        )
        _, status, used = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status) != code:
        sys.exit(
            f"{' '.join(command)} ended with {status}: {(folder / 'out.txt').read_text()[-2000:]}"
        )
    return time.monotonic() - begin, used.ru_maxrss // 1024


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
    """Start and end of a training of one step."""
    base = [*QUICK, "data=folder", "augment=none"]
    found = []
    for count in (100, 100_000):
        root = pairs(folder / f"pairs{count}", count)
        run = folder / f"run{count}"
        found.append(
            measured(folder, "fcnexp.train", *base, f"data.root={root}", f"hydra.run.dir={run}")
        )
    (few, few_mib), (many, many_mib) = found
    return (
        f"{many - few:.1f} s more than with 200 files ({few:.1f} s) | {many_mib - few_mib} MiB more"
    )


def status_of_2000_jobs(folder: Path) -> str:
    for at in range(2000):
        state = ("done", "failed", "running")[at % 3]
        write_job(folder / "sweep" / f"job{at}", state, overrides=[f"seed={at}"], type="ValueError")
    seconds, mib = measured(folder, "fcnexp.sweep", "status", str(folder / "sweep"), code=1)
    return f"{seconds:.1f} s | {mib} MiB"


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
    seconds, mib = measured(folder, "fcnexp.report", str(folder / "runs"), f"output={output}")
    return f"{seconds:.1f} s, page of {output.stat().st_size / 1e6:.1f} MB | {mib} MiB"


def metrics_of_1_000_000_rows(folder: Path) -> str:
    """In the report of the run."""
    measured(folder, "fcnexp.train", *QUICK, f"hydra.run.dir={folder / 'run'}")
    with (folder / "run/metrics.csv").open("w") as file:
        file.write("step,train/loss,val/miou\n")
        for step in range(1, 1_000_001):
            file.write(f"{step},{1 / step},{0.5 if step % 1000 == 0 else ''}\n")
    output = folder / "report.html"
    seconds, mib = measured(folder, "fcnexp.report", str(folder / "run"), f"output={output}")
    return f"{seconds:.1f} s, page of {output.stat().st_size / 1e6:.1f} MB | {mib} MiB"


def dry_run_of_2000_jobs(folder: Path) -> str:
    command = [
        "-m",
        "seed=range(2000)",
        "dry_run=true",
        "logger=csv",
        f"hydra.sweep.dir={folder}/sw",
    ]
    seconds, mib = measured(folder, "fcnexp.train", *command)
    return f"{seconds:.1f} s | {mib} MiB"


def schedule_of_1_000_000_steps(folder: Path) -> str:
    """A dry run, which composes the config and builds the net and the schedule."""
    steps = ["regime.steps=1000000", "dry_run=true", "logger=csv"]
    seconds, mib = measured(folder, "fcnexp.train", *steps)
    return f"{seconds:.1f} s | {mib} MiB"


ROWS: dict[str, Callable[[Path], str]] = {
    each.__name__: each
    for each in (
        files_200_000,
        status_of_2000_jobs,
        report_of_500_runs,
        metrics_of_1_000_000_rows,
        schedule_of_1_000_000_steps,
        dry_run_of_2000_jobs,
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
