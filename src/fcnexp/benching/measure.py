"""Times of several candidates taken in turn, their ratios, and the operations they need."""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from statistics import median
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from fcnexp.benching.nets import STRIDES
from fcnexp.benching.textbook import Textbook

Name = TypeVar("Name", bound=Hashable)
# Input and output channels and side of 3x3 convolutions, those of VGG16 on a 700x700 image.
SHAPES = ((64, 64, 700), (128, 128, 350), (256, 256, 175), (512, 512, 88))
RUNS = 4  # of each convolution


def now(device: torch.device) -> float:
    """Return a clock's seconds after synchronising the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def interleaved(
    candidates: Mapping[Name, Callable[[], Any]], rounds: int, device: torch.device
) -> dict[Name, list[float]]:
    """Return the seconds of each round by candidate; each round runs all of them, in order.

    An untimed warm-up of each comes first. If the machine slows down, it does so for all
    candidates, so that ratios within a round stay valid.
    """
    for run in candidates.values():
        run()
    seconds: dict[Name, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            start = now(device)
            run()
            seconds[name].append(now(device) - start)
    return seconds


def faster(mine: Sequence[float], other: Sequence[float]) -> float:
    """Return the speed relative to another candidate, the median of the ratios in each round."""
    return median(b / a for a, b in zip(mine, other, strict=True))


def difference(scores: torch.Tensor, reference: torch.Tensor) -> float:
    """Largest absolute difference, relative to the largest absolute value of the reference."""
    reference = reference.double()
    return float((scores.double() - reference).abs().max() / reference.abs().max())


@lru_cache(64)
def textbook_flop(
    model: str, channels: int, size: tuple[int, int], *, training: bool = False
) -> int:
    """Return FLOP of the textbook net on an image, two per multiply-add, from its layers' shapes.

    training: include the gradients of all weights.
    """
    with torch.device("meta"):
        net = Textbook(STRIDES[model], 21, channels)
        image = torch.zeros(1, 3, *size)
    with FlopCounterMode(display=False) as counter:
        scores = net(image)
        if training:
            scores.sum().backward()
    return int(counter.get_total_flops())


@torch.inference_mode()
def convolution_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return FLOP/s of the fastest of several large convolutions."""
    best = 0.0
    for inputs, outputs, side in SHAPES:
        maps, kernel = (
            torch.randn(size, device=device, dtype=dtype).contiguous(
                memory_format=torch.channels_last
            )
            for size in ((1, inputs, side, side), (outputs, inputs, 3, 3))
        )
        flop = 2 * 9 * inputs * outputs * side**2
        for _ in range(RUNS):
            start = now(device)
            F.conv2d(maps, kernel, padding=1)
            best = max(best, flop / (now(device) - start))
    return best
