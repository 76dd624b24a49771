"""Part `ways`: effect of each fast path on a forward pass and on a step of training."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from fcnexp.benching import nets
from fcnexp.benching.infer import size_text
from fcnexp.benching.measure import faster, now
from fcnexp.benching.nets import passes
from fcnexp.benching.tables import Row, Table
from fcnexp.benching.train_candidates import learner
from fcnexp.config.schema import BenchConfig
from fcnexp.nn.fast.switches import FAST_PATHS, plain

MOST_ROUNDS = 2
TAKEN = "all taken"


def fast_paths(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """Yield a table of scoring, then one of training."""
    model = asked.nets[0]
    title = f"{model}, VGG16, {size_text([asked.size])}"
    rounds = min(MOST_ROUNDS, asked.rounds)
    score = passes(nets.candidates([nets.OURS], model, asked.channels, device)[0], [asked.size])
    # An untimed pass after each switch: fast paths prepare their weights in it.
    yield left_out(f"{title}: scoring", score, rounds, device, prepare=score)
    del score
    one = learner(nets.OURS, model, asked.channels, device)
    step = partial(one.step, *one.example(asked.size))
    step()  # untimed: creates the optimiser's state
    yield left_out(f"{title}: a step of training", step, rounds, device)


def left_out(
    title: str,
    run: Callable[[], Any],
    rounds: int,
    device: torch.device,
    *,
    prepare: Callable[[], Any] = lambda: None,
) -> Table:
    """Seconds with all fast paths, and with each of them left out."""
    cases = {TAKEN: (), **{f"without {path}": (path,) for path in FAST_PATHS}}
    cases["all left out"] = ("all",)
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, without in cases.items():
            with plain(without):
                prepare()
                start = now(device)
                run()
                seconds[name].append(now(device) - start)
    rows = [
        Row(name, each, {"takes": f"{faster(seconds[TAKEN], each):.2f} times as long"})
        for name, each in seconds.items()
    ]
    return Table(f"{title}, fast paths left out", rows)
