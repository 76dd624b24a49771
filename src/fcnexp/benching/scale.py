"""Part `scale`: cost by pixels, batch size, workers and concurrent jobs; memory over time."""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from fcnexp.benching import nets
from fcnexp.benching.leaks import many_sizes, many_steps
from fcnexp.benching.loading import MOST_ROUNDS, our_workers
from fcnexp.benching.measure import faster, interleaved
from fcnexp.benching.nets import Candidate
from fcnexp.benching.photographs import photographs
from fcnexp.benching.startup import run_python
from fcnexp.benching.tables import Row, Table
from fcnexp.config.schema import BenchConfig

BATCH_SIDE = 128  # pixels
JOBS = 2  # of a sweep, run in sequence and concurrently
STEPS = 20  # per job


def scale(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """Yield tables by side, batch size, workers and concurrent jobs; memory by sizes and steps."""
    both = nets.candidates([nets.TEXTBOOK, nets.OURS], asked.nets[0], asked.channels, device)
    yield by_input(asked, device, both, "side", [(side, 1, side) for side in asked.sides])
    side = min(BATCH_SIDE, max(asked.sides))
    batches = [(n, n, side) for n in asked.batches]
    yield by_input(asked, device, both, "images at once", batches)
    yield many_sizes(asked, device, both[1])
    del both
    with photographs(asked) as found:
        yield our_workers(asked, found)
    with TemporaryDirectory() as folder:
        yield by_jobs(asked, folder)
    yield many_steps(asked, device)


def by_input(
    asked: BenchConfig,
    device: torch.device,
    both: Sequence[Candidate],
    what: str,
    inputs: Sequence[tuple[int, int, int]],
) -> Table:
    """Seconds to score a batch, with the textbook net and with ours.

    what: the quantity varied. inputs: its value, the batch size, and the images' side.
    """
    model = asked.nets[0]
    runs = {
        (one.name, value): partial(scored, one, batch, side, device)
        for value, batch, side in inputs
        for one in both
    }
    seconds = interleaved(runs, min(MOST_ROUNDS, asked.rounds), device)
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
    """Return scores of a batch; drawing the batch takes a thousandth of the time."""
    images = nets.image((side, side)).expand(batch, -1, -1, -1)
    return one.score(one.place(images.to(device)))


def by_jobs(asked: BenchConfig, folder: str) -> Table:
    """Seconds of a sweep of small trainings, with its jobs in sequence or concurrent."""
    small = [f"data.num_train={asked.images}", "data.num_val=2", f"data.root={folder}/cache"]
    small += [f"regime.steps={STEPS}", f"regime.score_every={STEPS}", "logger=csv", "pictures=0"]
    small += [f"seed={','.join(map(str, range(JOBS)))}", "hydra/launcher=subprocess"]
    count = iter(range(1000))

    def sweep(concurrent: int) -> None:
        where = f"hydra.sweep.dir={folder}/sweep{next(count)}"
        jobs = f"hydra.launcher.n_jobs={concurrent}"
        run_python(["-m", "fcnexp.train", "-m", *small, where, jobs], 0, folder, [])

    sweep(JOBS)  # untimed: writes bytecode and data
    rows = []
    for n in (1, JOBS):
        start = time.monotonic()
        sweep(n)
        facts = {"jobs at once": n, "jobs": JOBS}
        rows.append(Row("sweep", [time.monotonic() - start], facts))
    return Table(f"A sweep of {JOBS} trainings of {STEPS} steps, including start-up", rows)
