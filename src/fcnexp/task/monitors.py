"""Monitors of loss and time that do not make the device wait."""

import time
from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor

from fcnexp.errors import TrainingError

# Loss per pixel. Scores would have to be that far apart, which a converging net's never are.
EXPLODED = 1e4
LEAST_FACTOR = 2.0**-32  # of a scaler: far below what any net needs, so all steps were skipped


class FiniteLoss:
    """Stops a training whose loss is not finite, or has exploded.

    In float16 a gradient may overflow while the loss is finite: its scaler then skips the step, and
    training goes on with a smaller factor. Only if no factor helps, `check_factor` stops it.

    On a CPU the loss is checked immediately. On a GPU it is copied asynchronously and checked
    before the next pass, since waiting for it would leave the GPU idle; its gradient may then be in
    the weights already. So call `check` before weights are stored or scored, too.
    """

    def __init__(self) -> None:
        self.pending: Pending | None = None
        self.scaler: torch.amp.GradScaler | None = None  # of a training in float16

    def watch(self, loss: Tensor, step: int, names: Sequence[str], pixels: float) -> None:
        """Take the loss (scalar) of a pass. Raises TrainingError if it or the previous one is bad.

        step: number of optimiser steps done. names: of the pass's images. pixels: number of pixels
        whose losses are added up, 1 for a mean.
        """
        self.check()
        event = None
        if loss.device.type == "cuda":
            loss = loss.detach().to("cpu", non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self.pending = Pending(loss.detach(), event, step, list(names), pixels)
        if event is None:
            self.check()

    def check(self) -> None:
        """Check the pending loss, if any. Raises TrainingError."""
        if self.pending is None:
            return
        given, self.pending = self.pending, None
        if given.event is not None:
            given.event.synchronize()
        loss = float(given.loss)
        if not abs(loss) <= EXPLODED * given.pixels:  # nor is NaN
            limit = f", above {EXPLODED:g} a pixel," if isfinite(loss) else ""
            raise TrainingError(
                f"loss is {loss:g}{limit} at step {given.step}, on {', '.join(given.names)}: "
                f"lower regime.lr, or set regime.clip{self._advice()}"
            )

    def check_factor(self) -> None:
        """Raise TrainingError if the scaler skips every step; a GPU is synchronised."""
        if self.scaler is not None and (factor := self.scaler.get_scale()) < LEAST_FACTOR:
            raise TrainingError(
                f"gradients are not finite in float16, even with the loss scaled by {factor:.0e}, "
                f"so that no step is made: lower regime.lr, or set regime.clip{self._advice()}"
            )

    def _advice(self) -> str:
        above = torch.finfo(torch.float16).max
        if self.scaler is None:
            return ""
        return f"; or set trainer.precision=32-true, as float16 holds no value above {above:.0f}"


class Pending(NamedTuple):
    """A loss not checked yet. event: marks the end of its copy to the CPU; None on a CPU."""

    loss: Tensor
    event: torch.cuda.Event | None
    step: int
    names: list[str]
    pixels: float


class Stopwatch:
    """Measures the seconds that pieces of work take on a device, without synchronising it.

    On a GPU it records an event at the start and the end of each piece and reads them in `seconds`;
    the span includes time in which the GPU waits for the CPU.
    """

    def __init__(self) -> None:
        self.marks: list[tuple[torch.cuda.Event, torch.cuda.Event, int]] = []
        self.done: list[float] = []

    def begin(self, device: torch.device) -> "float | torch.cuda.Event":
        """Return the mark at which a piece of work begins."""
        if device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def end(self, start: "float | torch.cuda.Event", parts: int) -> None:
        """Record the time since that mark, as that of `parts` equal parts."""
        if isinstance(start, float):
            self.done.append((time.perf_counter() - start) / parts)
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.marks.append((start, event, parts))

    def seconds(self) -> list[float]:
        """Return the seconds of each piece, per part, in order; a GPU is synchronised."""
        for start, end, parts in self.marks:
            end.synchronize()
            self.done.append(start.elapsed_time(end) / 1000 / parts)
        self.marks = []
        return self.done
