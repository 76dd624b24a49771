"""Sweeps of fake jobs: the real command with a task that does not train.

`python made_up_jobs.py OVERRIDES` runs this command as a program.
"""

import atexit
import errno
import json
import os
import shlex
import signal
import sys
from pathlib import Path

from commands import Done, call
from made_up_runs import SCORES
from omegaconf import OmegaConf

from fcnexp.errors import DataError
from fcnexp.sweep import command, launches

FAULTS = {
    "bug": lambda: 1 / 0,
    "mistake": lambda: (_ for _ in ()).throw(DataError("a.jpg: damaged; fetch it again")),
    "exit": lambda: sys.exit(3),
    "memory": lambda: (_ for _ in ()).throw(MemoryError("no more")),
    "disk": lambda: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")),
    "stop": lambda: (_ for _ in ()).throw(KeyboardInterrupt),
    "sigterm": lambda: sys.exit(143),  # as `train` ends after SIGTERM
    "gone": lambda: os._exit(7),
    "wait": signal.pause,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


def task(cfg, folder):
    """Write a result, and record the call; fail if the file `faults/SEED` names a fault.

    late: the job is done, but its process dies on exit.
    """
    with Path("calls").open("a") as calls:
        calls.write(f"{cfg.seed} {cfg.resume} {os.environ.get('CUDA_VISIBLE_DEVICES')}\n")
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True))
    planted = Path("faults") / str(cfg.seed)
    if planted.is_file():
        FAULTS.get(planted.read_text(), lambda: None)()
    scores = SCORES | {"miou": cfg.seed / 10}
    result = {"status": "done", "scores": scores, "class_iou": {}, "train_seconds": 1.0}
    result["command"] = shlex.join(launches.typed())  # as `train` does
    (folder / "result.json").write_text(json.dumps(result))
    if planted.is_file() and planted.read_text() == "late":
        atexit.register(os._exit, 7)
    return scores["miou"]


def sweep(*arguments: str, folder: Path, faults: dict[int, str] | None = None) -> Done:
    """Run the command in this process and folder; the sweep is in `out`. faults: by seed."""
    (folder / "faults").mkdir(exist_ok=True)
    for file in (folder / "faults").iterdir():
        file.unlink()
    for seed, fault in (faults or {}).items():
        (folder / "faults" / str(seed)).write_text(fault)
    (folder / "calls").write_text("")
    own = ["-m", "hydra.sweep.dir=out"]
    return call(lambda: command.run(task), *own, *arguments, folder=folder, cache=folder)


def calls(folder: Path) -> list[str]:
    """Seed, `resume` and GPU of each call since the last command started."""
    return (folder / "calls").read_text().splitlines()


def seeds(folder: Path) -> list[int]:
    return sorted(int(line.split()[0]) for line in calls(folder))


def records(folder: Path) -> dict[int, dict]:
    """Content of job.json, by seed."""
    found = [json.loads(file.read_text()) for file in (folder / "out").glob("*/job.json")]
    return {int(dict(o.split("=") for o in r["overrides"])["seed"]): r for r in found}


if __name__ == "__main__":
    command.run(task)
