"""Memory that should stay flat: over steps of training, and over images of ever new sizes."""

import gc
from collections.abc import Callable, Iterator

import psutil
import torch

from fcnexp.benching import nets
from fcnexp.benching.learners import learner_of, task_of
from fcnexp.benching.tables import Row, Table
from fcnexp.schema import BenchConfig

LOOKS = 10  # at memory
GIB, MIB = 2**30, 2**20
SIDES = (48, 144)  # pixels, least and greatest
SMALL_NET = ["data=voc", "backbone=tiny", "model=fcn8s", "regime=heavy", "init=scratch"]
SIZES = 40  # at which VGG16 scores


def many_steps(asked: BenchConfig, device: torch.device) -> Table:
    """Memory after each tenth of the steps of a small net on images of mixed sizes."""
    one = learner_of(task_of(SMALL_NET), device)
    sizes = mixed_sizes()

    def step() -> None:
        one.step(*one.example(next(sizes)))

    rows = looked_at("training", step, asked.steps, device)
    title = f"Memory over {asked.steps} steps of a small FCN-8s, a size of its own each"
    return Table(title, rows, notes=[growth(rows)])


def many_sizes(asked: BenchConfig, device: torch.device) -> Table:
    """Memory after each tenth of the images that VGG16 scores, no two of one size."""
    model = asked.nets[0]
    one = nets.candidate(nets.OURS, nets.build(nets.OURS, model, asked.channels), device)
    sizes = mixed_sizes()

    @torch.inference_mode()
    def score() -> None:
        one.score(one.place(nets.image(next(sizes)).to(device)))

    count = min(SIZES, asked.steps)
    rows = looked_at("scoring", score, count, device)
    title = f"Memory over {count} images that {model}, VGG16, scores, a size of its own each"
    return Table(title, rows, notes=[growth(rows)])


def mixed_sizes() -> Iterator[list[int]]:
    """Heights and widths, drawn evenly, without end."""
    generator = torch.Generator().manual_seed(0)
    while True:
        yield torch.randint(SIDES[0], SIDES[1] + 1, (2,), generator=generator).tolist()


def looked_at(what: str, do: Callable[[], None], count: int, device: torch.device) -> list[Row]:
    """Do a thing so many times; memory that the process, or the GPU, holds now and then."""
    process, rows = psutil.Process(), []
    every = max(1, count // LOOKS)
    for number in range(1, count + 1):
        do()
        if number % every == 0:
            gc.collect()
            cuda = device.type == "cuda"
            held = torch.cuda.memory_allocated(device) if cuda else process.memory_info().rss
            rows.append(Row(what, facts={"after": number, "GiB": held / GIB}))
    return rows


def growth(rows: list[Row]) -> str:
    """From the first look to the last: what is kept of each image would show."""
    first, last = (row.facts for row in (rows[0], rows[-1]))
    more = (last["GiB"] - first["GiB"]) * GIB / MIB
    return f"From {first['after']} to {last['after']} it grew by {more:+.0f} MiB."
