"""Part `ways`: what each fast way is worth, by a pass and a step of a net without it."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from fcnexp.benching import nets
from fcnexp.benching.infer import words
from fcnexp.benching.measure import faster, now
from fcnexp.benching.nets import passes
from fcnexp.benching.tables import Row, Table
from fcnexp.benching.train_candidates import learners
from fcnexp.config.schema import BenchConfig
from fcnexp.nn.fast.switches import WAYS, plain

MOST_ROUNDS = 2
TAKEN = "all taken"


def ways(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """A table of scoring, then one of training."""
    model, shown = asked.nets[0], f"{asked.nets[0]}, VGG16, {words([asked.size])}"
    rounds = min(MOST_ROUNDS, asked.rounds)
    score = passes(nets.candidates([nets.OURS], model, asked.channels, device)[0], [asked.size])
    # Once without a clock, whenever other ways are taken: weights are prepared for them.
    yield left_out(f"{shown}: scoring", score, rounds, device, prepare=score)
    del score
    learner = learners([nets.OURS], model, asked.channels, device)[0]
    step = partial(learner.step, *learner.example(asked.size))
    step()  # without a clock: the optimiser's state is made
    yield left_out(f"{shown}: a step of training", step, rounds, device)


def left_out(
    what: str,
    do: Callable[[], Any],
    rounds: int,
    device: torch.device,
    *,
    prepare: Callable[[], Any] = lambda: None,
) -> Table:
    """Seconds with all ways taken, and with each of them left out."""
    cases = {TAKEN: (), **{f"without {way}": (way,) for way in WAYS}, "all left out": ("all",)}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, without in cases.items():
            with plain(without):
                prepare()
                start = now(device)
                do()
                seconds[name].append(now(device) - start)
    rows = [
        Row(name, each, {"takes": f"{faster(seconds[TAKEN], each):.2f} times as long"})
        for name, each in seconds.items()
    ]
    return Table(f"{what}, fast ways left out", rows)
