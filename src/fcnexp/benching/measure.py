"""Times of several ways of doing one thing: A B A B ... in one process, medians, ratios."""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from statistics import median
from typing import Any, TypeVar

import torch

Name = TypeVar("Name", bound=Hashable)


def now(device: torch.device) -> float:
    """Seconds of a clock, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def interleaved(
    ways: Mapping[Name, Callable[[], Any]], rounds: int, device: torch.device
) -> dict[Name, list[float]]:
    """Seconds of each round by way; every round takes each way once, in the order given.

    Before that each is taken once without a clock. A machine that gets slower meanwhile is slower
    for all, so that ratios of one round stay right.
    """
    for way in ways.values():
        way()
    seconds: dict[Name, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = now(device)
            way()
            seconds[name].append(now(device) - start)
    return seconds


def faster(mine: Sequence[float], other: Sequence[float]) -> float:
    """How many times as fast as another: the median of the ratios of one round each."""
    return median(b / a for a, b in zip(mine, other, strict=True))


def difference(scores: torch.Tensor, reference: torch.Tensor) -> float:
    """Largest absolute difference, relative to the largest absolute value of the reference."""
    reference = reference.double()
    return float((scores.double() - reference).abs().max() / reference.abs().max())
