"""Part `ways`: what each fast way is worth, by a pass and a step of a net without it."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch

from fcnexp.benching import nets
from fcnexp.benching.infer import passes, words
from fcnexp.benching.learners import learners
from fcnexp.benching.tables import Row, Table
from fcnexp.benching.timing import interleaved
from fcnexp.nn.fast.switches import WAYS, plain
from fcnexp.schema import BenchConfig

MOST_ROUNDS = 2
TAKEN = "all taken"


def ways(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """A table of scoring, then one of training."""
    model, shown = asked.nets[0], f"{asked.nets[0]}, VGG16, {words([asked.size])}"
    one = nets.candidates([nets.OURS], model, asked.channels, device)[0]
    yield left_out(asked, device, f"{shown}: scoring", passes(one, [asked.size]))
    del one
    learner = learners([nets.OURS], model, asked.channels, device)[0]
    step = partial(learner.step, *learner.example(asked.size))
    yield left_out(asked, device, f"{shown}: a step of training", step)


def left_out(asked: BenchConfig, device: torch.device, what: str, do: Callable[[], Any]) -> Table:
    """Seconds with all ways taken, and with each of them left out."""
    cases = {TAKEN: (), **{f"without {way}": (way,) for way in WAYS}, "all left out": ("all",)}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(min(MOST_ROUNDS, asked.rounds)):
        for name, found in one_round(cases, do, device).items():
            seconds[name].append(found)
    rows = [Row(name, each) for name, each in seconds.items()]
    note = "Each after a pass without a clock, in which weights are prepared for what is taken."
    return Table(f"{what}, fast ways left out", rows, (TAKEN,), notes=[note])


def one_round(
    cases: Mapping[str, tuple[str, ...]], do: Callable[[], Any], device: torch.device
) -> dict[str, float]:
    """Seconds of each case, one after another."""
    found = {}
    for name, without in cases.items():
        with plain(without):
            found[name] = interleaved({name: do}, 1, device)[name][0]
    return found
