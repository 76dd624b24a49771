"""Memory over steps of training and over images of new sizes, which should stay flat."""

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

SAMPLES = 10  # of memory per table
IN_USE = "in use (GiB)"
GIB, MIB = 2**30, 2**20
SIDES = (48, 144)  # pixels, smallest and largest
SMALL_NET = ["data=voc", "backbone=tiny", "model=fcn8s", "regime=heavy", "init=scratch"]
SIZES = 40  # images that VGG16 scores


def many_steps(asked: BenchConfig, device: torch.device) -> Table:
    """Memory after each tenth of the training steps of a small net, on images of mixed sizes."""
    one = learner_of(task_of(SMALL_NET), device)
    sizes = mixed_sizes()
    rows = sampled("steps", lambda: one.step(*one.example(next(sizes))), asked.steps, device)
    title = f"Memory over {asked.steps} steps of a small FCN-8s, each with a random image size"
    return Table(title, rows, notes=[growth(rows)])


def many_sizes(asked: BenchConfig, device: torch.device, one: Candidate) -> Table:
    """Memory after each tenth of the images that VGG16 scores, all of different sizes."""
    sizes = mixed_sizes()

    @torch.inference_mode()
    def score() -> None:
        one.score(one.place(nets.image(next(sizes)).to(device)))

    count = min(SIZES, asked.steps)
    rows = sampled("images", score, count, device)
    title = f"Memory over {count} images scored by {asked.nets[0]}, VGG16, each with a random size"
    return Table(title, rows, notes=[growth(rows)])


def mixed_sizes() -> Iterator[list[int]]:
    """Yield heights and widths, drawn uniformly, without end."""
    generator = torch.Generator().manual_seed(0)
    while True:
        yield torch.randint(SIDES[0], SIDES[1] + 1, (2,), generator=generator).tolist()


def sampled(what: str, run: Callable[[], None], count: int, device: torch.device) -> list[Row]:
    """Call a function `count` times; returns samples of the memory of the process, or the GPU."""
    rows = []
    every = max(1, count // SAMPLES)
    for number in range(1, count + 1):
        run()
        if number % every == 0:
            gc.collect()
            facts: dict[str, int | float | None] = {"after": number, "GiB": held(device) / GIB}
            facts[IN_USE] = held(device) / GIB if trim(device) else None
            facts["objects"] = len(gc.get_objects())
            rows.append(Row(what, facts=facts))
    return rows


def held(device: torch.device) -> int:
    """Return the resident bytes of the process, or the bytes of tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return psutil.Process().memory_info().rss


def trim(device: torch.device) -> bool:
    """Make glibc return freed memory; returns False if the C library cannot."""
    if device.type == "cuda" or sys.platform != "linux":
        return False
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return malloc_trim is not None and malloc_trim(0) >= 0


def growth(rows: list[Row]) -> str:
    """Describe the growth over the second half of the samples, where a leak per image shows."""
    half = rows[(len(rows) - 1) // 2 :]
    first, last = (row.facts for row in (half[0], half[-1]))

    def more(what: str) -> str:
        return f"{(last[what] - first[what]) * GIB / MIB:+.1f} MiB"

    text = f"From {first['after']} to {last['after']}: {more('GiB')} held"
    if first[IN_USE] is not None:
        text += f"; {more(IN_USE)} in use, after malloc_trim has returned freed memory"
    return f"{text}; {last['objects'] - first['objects']:+d} Python objects."
