"""What is watched while a device works, without making it wait: the loss, and the time it takes."""

import time
from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor

from fcnexp.errors import TrainingError

# Of one pixel. Its scores would be that far apart: for no class of a net that learns they are.
EXPLODED = 1e4


class FiniteLoss:
    """Stops a training whose loss is not finite, or has exploded.

    On a CPU at once. On a GPU the loss is fetched while the pass goes on, and looked at before the
    next one, as asking for it would keep the GPU idle: by then its gradient may be in the weights.
    So `look` is to be called before weights are stored or scored, too.
    """

    def __init__(self) -> None:
        self.pending: Pending | None = None

    def watch(self, loss: Tensor, step: int, names: Sequence[str], pixels: float) -> None:
        """Take the loss (scalar) of a pass. Raises TrainingError if it, or the one before, is bad.

        step: optimiser's steps done; names: of the pass's images; pixels: how many the loss is the
        sum of, 1 for a mean.
        """
        self.look()
        event = None
        if loss.device.type == "cuda":
            loss = loss.detach().to("cpu", non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self.pending = Pending(loss.detach(), event, step, list(names), pixels)
        if event is None:
            self.look()

    def look(self) -> None:
        """Look at a loss that was not looked at yet. Raises TrainingError."""
        if self.pending is None:
            return
        given, self.pending = self.pending, None
        if given.event is not None:
            given.event.synchronize()
        loss = float(given.loss)
        if not abs(loss) <= EXPLODED * given.pixels:  # nor is NaN
            told = f", above {EXPLODED:g} a pixel," if isfinite(loss) else ""
            raise TrainingError(
                f"loss is {loss:g}{told} at step {given.step}, on {', '.join(given.names)}: "
                "lower regime.lr, or set regime.clip"
            )


class Pending(NamedTuple):
    """A loss that nobody has looked at. event: when it is here; see `FiniteLoss.watch`."""

    loss: Tensor
    event: torch.cuda.Event | None
    step: int
    names: list[str]
    pixels: float


class Stopwatch:
    """Seconds that pieces of work take on a device, which is not stopped for it.

    On a GPU it marks the stream of work where a piece begins and ends, and reads the marks when it
    is asked: what lies between is the piece alone, unless the GPU had to wait for it.
    """

    def __init__(self) -> None:
        self.marks: list[tuple[torch.cuda.Event, torch.cuda.Event, int]] = []
        self.done: list[float] = []

    def begin(self, device: torch.device) -> "float | torch.cuda.Event":
        """The mark at which a piece of work begins."""
        if device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def end(self, start: "float | torch.cuda.Event", parts: int) -> None:
        """Count what was done since that mark, as so many equal parts."""
        if isinstance(start, float):
            self.done.append((time.perf_counter() - start) / parts)
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.marks.append((start, event, parts))

    def seconds(self) -> list[float]:
        """Of each part, in order. On a GPU it waits until the last piece is done."""
        for start, end, parts in self.marks:
            end.synchronize()
            self.done.append(start.elapsed_time(end) / 1000 / parts)
        self.marks = []
        return self.done
