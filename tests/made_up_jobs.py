"""Sweeps of jobs that train nothing: the command as a user types it, but for its task.

As a program (`python made_up_jobs.py OVERRIDES`) it is that command in a process of its own.
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
    "sigterm": lambda: sys.exit(143),  # as `train` ends when it was told to
    "gone": lambda: os._exit(7),
    "wait": signal.pause,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


def task(cfg, folder):
    """Leaves a result and a note of each call; fails as the file `faults/SEED` says.

    late: it is done, and its process dies at the exit.
    """
    with Path("calls").open("a") as calls:
        calls.write(f"{cfg.seed} {cfg.resume} {os.environ.get('CUDA_VISIBLE_DEVICES')}\n")
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True))
    planted = Path("faults") / str(cfg.seed)
    if planted.is_file():
        FAULTS.get(planted.read_text(), lambda: None)()
    scores = SCORES | {"miou": cfg.seed / 10}
    result = {"status": "done", "scores": scores, "class_iou": {}, "train_seconds": 1.0}
    result["command"] = shlex.join(launches.typed())  # as `train` has it
    (folder / "result.json").write_text(json.dumps(result))
    if planted.is_file() and planted.read_text() == "late":
        atexit.register(os._exit, 7)
    return scores["miou"]


def sweep(*arguments: str, folder: Path, faults: dict[int, str] | None = None) -> Done:
    """The command in this process, in a folder; its sweep is in `out`. faults: by seed."""
    (folder / "faults").mkdir(exist_ok=True)
    for file in (folder / "faults").iterdir():
        file.unlink()
    for seed, fault in (faults or {}).items():
        (folder / "faults" / str(seed)).write_text(fault)
    (folder / "calls").write_text("")
    own = ["-m", "hydra.sweep.dir=out"]
    return call(lambda: command.run(task), *own, *arguments, folder=folder, cache=folder)


def calls(folder: Path) -> list[str]:
    """Seed, whether it resumed, and GPU, of each call since the last command began."""
    return (folder / "calls").read_text().splitlines()


def seeds(folder: Path) -> list[int]:
    return sorted(int(line.split()[0]) for line in calls(folder))


def records(folder: Path) -> dict[int, dict]:
    """What job.json holds, by seed."""
    found = [json.loads(file.read_text()) for file in (folder / "out").glob("*/job.json")]
    return {int(dict(o.split("=") for o in r["overrides"])["seed"]): r for r in found}


if __name__ == "__main__":
    command.run(task)
