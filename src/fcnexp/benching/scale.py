"""Part `scale`: what more pixels, more images at once, processes and jobs cost, and more steps."""

from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from fcnexp.benching import nets
from fcnexp.benching.loading import our_workers
from fcnexp.benching.nets import Candidate
from fcnexp.benching.photographs import photographs
from fcnexp.benching.startup import run_python
from fcnexp.benching.steady import many_sizes, many_steps
from fcnexp.benching.tables import Row, Table
from fcnexp.benching.timing import faster, interleaved
from fcnexp.schema import BenchConfig

MOST_ROUNDS = 2
BATCH_SIDE = 256  # pixels
JOBS = 2  # of a sweep, one after another and at once
STEPS = 20  # of a job


def scale(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """Tables by side, batch, reading processes, jobs at once; then memory by steps and by sizes."""
    yield by_input(asked, device, "side", [(side, 1, side) for side in asked.sides])
    side = min(BATCH_SIDE, max(asked.sides))
    yield by_input(asked, device, "images at once", [(n, n, side) for n in asked.batches])
    with photographs(asked) as found:
        yield our_workers(asked, found)
    with TemporaryDirectory() as folder:
        yield by_jobs(asked, folder)
    yield many_steps(asked, device)
    yield many_sizes(asked, device)


def by_input(
    asked: BenchConfig, device: torch.device, what: str, inputs: Sequence[tuple[int, int, int]]
) -> Table:
    """Seconds to score a batch, by the textbook and by us.

    inputs: what is varied, images at once, and their side.
    """
    model = asked.nets[0]
    both = nets.candidates([nets.TEXTBOOK, nets.OURS], model, asked.channels, device)
    ways = {
        (one.name, value): partial(scored, one, batch, side, device)
        for value, batch, side in inputs
        for one in both
    }
    seconds = interleaved(ways, min(MOST_ROUNDS, asked.rounds), device)
    rows = []
    for value, batch, side in inputs:
        for one in both:
            each, base = seconds[one.name, value], seconds[nets.TEXTBOOK, value]
            facts: dict[str, Any] = {what: value, "images": batch}
            facts["s a megapixel"] = median(each) / (batch * side**2 / 1e6)
            facts[f"than {nets.TEXTBOOK}"] = f"{faster(each, base):.2f}"
            rows.append(Row(one.name, each, facts))
    size = "" if what == "side" else f", {inputs[0][2]}x{inputs[0][2]}"
    return Table(f"{model}, VGG16{size}: scoring by {what}", rows)


@torch.inference_mode()
def scored(one: Candidate, batch: int, side: int, device: torch.device) -> Tensor:
    """Scores of a batch; making it is a thousandth of the time."""
    images = nets.image((side, side)).expand(batch, -1, -1, -1)
    return one.score(one.place(images.to(device)))


def by_jobs(asked: BenchConfig, folder: str) -> Table:
    """Seconds of a sweep of small trainings, its jobs one after another or at once."""
    small = [f"data.num_train={asked.images}", "data.num_val=2", f"data.root={folder}/cache"]
    small += [f"regime.steps={STEPS}", f"regime.score_every={STEPS}", "logger=csv", "pictures=0"]
    small += [f"seed={','.join(map(str, range(JOBS)))}", "hydra/launcher=subprocess"]
    count = iter(range(1000))

    def sweep(at_once: int) -> None:
        where = f"hydra.sweep.dir={folder}/sweep{next(count)}"
        jobs = f"hydra.launcher.n_jobs={at_once}"
        run_python(["-m", "fcnexp.train", "-m", *small, where, jobs], 0, folder, [])

    ways = {n: partial(sweep, n) for n in (1, JOBS)}
    seconds = interleaved(ways, 1, torch.device("cpu"))
    rows = [Row(f"{n} at a time", each, {"jobs at once": n}) for n, each in seconds.items()]
    return Table(f"A sweep of {JOBS} trainings of {STEPS} steps, start-up included", rows)
