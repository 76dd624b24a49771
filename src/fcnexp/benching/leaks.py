"""Memory that should stay flat: over steps of training, and over images of ever new sizes."""

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator

import psutil
import torch

from fcnexp.benching import nets
from fcnexp.benching.nets import Candidate
from fcnexp.benching.tables import Row, Table
from fcnexp.benching.train_candidates import learner_of, task_of
from fcnexp.config.schema import BenchConfig

LOOKS = 10  # at memory
IN_USE = "in use (GiB)"
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

    rows = looked_at("steps", step, asked.steps, device)
    title = f"Memory over {asked.steps} steps of a small FCN-8s, a size of its own each"
    return Table(title, rows, notes=[growth(rows)])


def many_sizes(asked: BenchConfig, device: torch.device, one: Candidate) -> Table:
    """Memory after each tenth of the images that VGG16 scores, no two of one size."""
    model = asked.nets[0]
    sizes = mixed_sizes()

    @torch.inference_mode()
    def score() -> None:
        one.score(one.place(nets.image(next(sizes)).to(device)))

    count = min(SIZES, asked.steps)
    rows = looked_at("images", score, count, device)
    title = f"Memory over {count} images that {model}, VGG16, scores, a size of its own each"
    return Table(title, rows, notes=[growth(rows)])


def mixed_sizes() -> Iterator[list[int]]:
    """Heights and widths, drawn evenly, without end."""
    generator = torch.Generator().manual_seed(0)
    while True:
        yield torch.randint(SIDES[0], SIDES[1] + 1, (2,), generator=generator).tolist()


def looked_at(what: str, do: Callable[[], None], count: int, device: torch.device) -> list[Row]:
    """Do a thing so many times; memory that the process, or the GPU, holds now and then."""
    rows = []
    every = max(1, count // LOOKS)
    for number in range(1, count + 1):
        do()
        if number % every == 0:
            gc.collect()
            facts: dict[str, int | float | None] = {"after": number, "GiB": held(device) / GIB}
            facts[IN_USE] = held(device) / GIB if give_back(device) else None
            facts["objects"] = len(gc.get_objects())
            rows.append(Row(what, facts=facts))
    return rows


def held(device: torch.device) -> int:
    """Bytes that the process has of the machine's memory, or tensors of the GPU's."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return psutil.Process().memory_info().rss


def give_back(device: torch.device) -> bool:
    """Have the C library return what was freed; whether it can, which is glibc's alone."""
    if device.type == "cuda" or sys.platform != "linux":
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and trim(0) >= 0


def growth(rows: list[Row]) -> str:
    """In the second half of all looks: what is kept of each image would show."""
    half = rows[(len(rows) - 1) // 2 :]
    first, last = (row.facts for row in (half[0], half[-1]))

    def more(what: str) -> str:
        return f"{(last[what] - first[what]) * GIB / MIB:+.1f} MiB"

    told = f"From {first['after']} to {last['after']}: {more('GiB')}"
    if first[IN_USE] is not None:
        told += f"; {more(IN_USE)} of what is in use, once malloc_trim has given back the rest"
    return f"{told}; {last['objects'] - first['objects']:+d} Python objects."
