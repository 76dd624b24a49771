"""Stopping a training by a signal: after a step, in all processes, with a checkpoint."""

import logging
import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, Timer
from lightning.pytorch.utilities.exceptions import SIGTERMException

log = logging.getLogger(__name__)

SLURM_JOB = "SLURM_JOB_ID"  # environment of a job


class StoppedEarly(Callback):
    """Keeps a training stopped that a callback or `max_time` has stopped, and says why.

    A run that is interrupted after the decision would otherwise go on when it resumes: callbacks
    store what they counted, but the Trainer does not store that they stopped it. A callback of ours
    or of the user's may keep the reason in its attribute `stopped_because`.
    """

    def __init__(self) -> None:
        self.why: str | None = None  # of a training that ended before its last step

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop before the first step if a callback had decided so."""
        for each in trainer.callbacks:  # type: ignore[attr-defined]  # set late
            early = isinstance(each, EarlyStopping) and each.stopping_reason.value
            if early or getattr(each, "stopped_because", None):
                trainer.should_stop = True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the reason if steps are left."""
        if trainer.global_step >= trainer.max_steps:
            return
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set late
        early = [each for each in callbacks if isinstance(each, EarlyStopping)]
        timers = [each.time_remaining() for each in callbacks if isinstance(each, Timer)]
        reasons = [each.stopping_reason_message for each in early if each.stopping_reason_message]
        said = [getattr(each, "stopped_because", None) for each in callbacks]
        reasons += [reason for reason in said if reason]
        reasons += ["the time is over" for left in timers if left is not None and left <= 0]
        reason = reasons[0] if reasons else "a callback stopped it"
        self.why = reason.removesuffix(" Signaling Trainer to stop.").rstrip(".")
        log.info(f"stopped at step {trainer.global_step} of {trainer.max_steps}: {self.why}")


class StopRequested(SIGTERMException):
    """Raised to stop a training on request. signal: number of the signal that requested it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = number

    @property
    def exit_code(self) -> int:
        """Exit code that a shell reports for a process killed by this signal."""
        return 128 + self.signal


class StopAfterStep(Callback):
    """Stops a training on SIGTERM or Ctrl-C before its next step, so that it can resume exactly.

    In the middle of a step, some weights may be updated and others not, batch normalisation has
    seen images that the weights have not, and accumulated gradients are not stored. A scoring is
    finished, since a resumed run would skip it. A second signal stops the process immediately,
    without saving. In a Slurm job SIGUSR1, which `sbatch --signal` sends before the time limit,
    does the same as SIGTERM.

    Only rank 0 listens, and broadcasts the request; other ranks ignore the signals. Lightning would
    broadcast within the handler, possibly in the middle of another collective operation.
    """

    def __init__(self) -> None:
        self.requested = 0  # number of the signal

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Install the handlers, after Lightning's own."""
        self._listen(trainer)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop all processes if rank 0 received a signal. Raises StopRequested."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._stop_if_requested(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop after the last step, too, as a scoring may follow. Raises StopRequested."""
        self._stop_if_requested(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Install the handlers if this is the scoring after the training."""
        if trainer.state.fn == "validate":
            self._listen(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop after that scoring. Raises StopRequested."""
        if trainer.state.fn == "validate":
            self._stop_if_requested(trainer)

    def _listen(self, trainer: L.Trainer) -> None:
        """Install signal handlers; Lightning restores the previous ones when it ends."""
        if threading.current_thread() is not threading.main_thread():
            return  # Python allows handlers in the main thread only
        signals = [signal.SIGTERM, signal.SIGINT]
        if SLURM_JOB in os.environ and signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
            signals.append(signal.SIGUSR1)
        handler = self._request if trainer.is_global_zero else signal.SIG_IGN
        for each in signals:
            signal.signal(each, handler)

    def _stop_if_requested(self, trainer: L.Trainer) -> None:
        number = self.requested
        if trainer.world_size > 1:
            shared = torch.tensor(number, device=trainer.strategy.root_device)
            torch.distributed.broadcast(shared, src=0)
            number = int(shared)
        if number:
            raise StopRequested(number)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        self.requested = number
        with suppress(RuntimeError):  # raised if the signal interrupts another write
            log.info("%s: finishing this step, then saving", signal.Signals(number).name)
