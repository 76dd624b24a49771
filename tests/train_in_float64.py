"""Trainings in float64, as a program, since each process of a run starts the same command.

`python train_in_float64.py DEVICES FOLDER OVERRIDES`: OVERRIDES is a JSON list of lists. Weights,
matrix and passes of each training are stored in FOLDER/NUMBER_RANK.pt.
"""

import json
import os
import sys
from pathlib import Path

import torch

from fcnexp import build
from fcnexp.config.checks import check
from fcnexp.config.compose import compose_run
from fcnexp.run import trainers

BASE = [
    *(
        "backbone=googlenet",
        "model=fcn32s",
        "head=fc",
        "head.channels=8",
        "logger=csv",
        "trainer=cpu",
    ),
    *("data.num_train=7", "data.num_val=3", "augment=crop", "augment.crop=44"),
    # Plain SGD, since Adam's step does not depend on the gradient's scale.
    *("regime=accum", "regime.steps=3", "regime.score_every=3", "workers=0", "regime.accumulate=1"),
    "regime.lr=1e-3",
]


def typed(overrides: list[str]) -> list[str]:
    rooms = any(override.startswith("data=rooms") for override in overrides)
    return [*BASE, "data.size=[48,64]" if rooms else "data.side=[48,64]", *overrides]


def train(devices: int, folder: Path, number: int, overrides: list[str]) -> None:
    cfg = check(compose_run([*typed(overrides), f"trainer.devices={devices}"]))
    torch.manual_seed(0)
    data = build.build_data(cfg)
    data.setup("fit")
    task = build.build_task(cfg, data.data).double()
    for layer in task.net.score_layers():
        torch.nn.init.normal_(layer.weight, std=0.1)
    apply = task.recipe.apply
    task.recipe.apply = lambda fields, sizes: {
        name: x.double() for name, x in apply(fields, sizes).items()
    }
    passes, step = [], task.training_step

    def spy(batch, batch_idx):
        passes.append(list(batch.names))
        return step(batch, batch_idx)

    task.training_step = spy
    trainer = trainers.build_trainer(cfg, folder / str(number), [])
    trainer.fit(task, data)
    stored = {"weights": list(task.net.parameters()), "matrix": task.matrix, "passes": passes}
    stored["further"] = [counts.matrix for counts in task.counts[1:]]
    torch.save(stored, folder / f"{number}_{trainer.global_rank}.pt")


if __name__ == "__main__":
    os.environ.setdefault("FCNEXP_CACHE", sys.argv[2])
    cases = json.loads(sys.argv[3])
    for overrides in cases:  # generate the data before several processes write it
        build.build_data(compose_run(typed(overrides))).setup("fit")
    for number, overrides in enumerate(cases):
        train(int(sys.argv[1]), Path(sys.argv[2]), number, overrides)
