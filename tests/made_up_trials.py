"""Searches whose trials do not train: their score follows from regime.lr, and they take some time.

`python made_up_trials.py OVERRIDES` runs the search, and its jobs, as programs of their own.
"""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

from made_up_runs import SCORES
from omegaconf import OmegaConf

from fcnexp.sweep import command, launcher

SEARCH = ["-m", "hydra/sweeper=search", "hydra.sweep.dir=out", "hydra/launcher=subprocess"]


def task(cfg, folder):
    """Write the call and a result; SECONDS of the environment is the mean length of a job."""
    with Path("calls").open("a") as calls:
        calls.write(f"{folder.name} {cfg.resume}\n")
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True))
    miou = math.exp(-(math.log10(cfg.regime.lr / 1e-3) ** 2)) * (1 - cfg.seed / 100)
    length = float(os.environ.get("SECONDS", "0")) * (0.1, 0.4, 0.8, 2.7)[cfg.seed % 4]
    time.sleep(length)
    result = {"status": "done", "scores": SCORES | {"miou": miou}, "class_iou": {}}
    result |= {"train_seconds": length, "ms_per_image": 10.0 + cfg.seed, "command": "made up"}
    result["choices"] = {"model": "fcn8s"}
    (folder / "result.json").write_text(json.dumps(result))
    return miou


def start(*arguments: str, folder: Path, seconds: float = 0) -> subprocess.Popen:
    """Start a search as a program; it and its jobs do not train."""
    own = {"SECONDS": str(seconds), "FCNEXP_CACHE": str(folder), "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, __file__, *SEARCH, *arguments],
        cwd=folder,
        env=os.environ | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


if __name__ == "__main__":
    real = launcher.command
    launcher.command = lambda *given: [sys.executable, __file__, *real(*given)[3:]]
    command.run(task)
