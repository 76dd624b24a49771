"""Ending a training from outside: behind a step, in all of its processes, with what it has."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

log = logging.getLogger(__name__)

SLURM_JOB = "SLURM_JOB_ID"  # environment of a job


class Asked(SIGTERMException):
    """The end that a signal has asked for. signal: its number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = number

    @property
    def exit_code(self) -> int:
        """What a shell calls a process that this signal has ended."""
        return 128 + self.signal


class StopBehindStep(Callback):
    """Lets SIGTERM and Ctrl-C end a training where it can go on exactly: before its next step.

    In the middle of one, half of the weights may be new, batch normalisation has seen images of
    which they know nothing, and accumulated gradients are not stored; a scoring is finished, since
    a run that is gone on with would leave it out. Who asks twice is served at once: nothing is
    saved then. In a Slurm job SIGUSR1, by which `sbatch --signal` tells of its end, does the same.

    Of several processes the first is told, and tells the others; these are deaf. Lightning would
    tell them within the handler, wherever they are, and what they exchange just then is mixed up.
    """

    def __init__(self) -> None:
        self.asked = 0  # number of the signal
        self.say: Callable[[str], None] = log.info

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen, once Lightning does."""
        self._listen(trainer)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop, in all processes, if the first was asked to. Raises Asked."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._stop_if_asked(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop behind the last step, too, as a scoring may follow. Raises Asked."""
        self._stop_if_asked(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen, where it is the scoring behind the training."""
        if trainer.state.fn == "validate":
            self._listen(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop behind that scoring. Raises Asked."""
        if trainer.state.fn == "validate":
            self._stop_if_asked(trainer)

    def _listen(self, trainer: L.Trainer) -> None:
        """Have signals handled here, until Lightning brings back all handlers at its end."""
        if threading.current_thread() is not threading.main_thread():
            return  # Python lets no other set handlers, nor does Lightning
        if trainer.progress_bar_callback is not None:
            self.say = trainer.progress_bar_callback.print  # above the bar, not through it
        heard = [signal.SIGTERM, signal.SIGINT]
        if SLURM_JOB in os.environ and signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
            heard.append(signal.SIGUSR1)
        handler = self._ask if trainer.is_global_zero else signal.SIG_IGN
        for each in heard:
            signal.signal(each, handler)

    def _stop_if_asked(self, trainer: L.Trainer) -> None:
        asked = self.asked
        if trainer.world_size > 1:
            told = torch.tensor(asked, device=trainer.strategy.root_device)
            torch.distributed.broadcast(told, src=0)
            asked = int(told)
        if asked:
            raise Asked(asked)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        self.asked = number
        line = f"{signal.Signals(number).name}: stops behind this step, and saves"
        with suppress(RuntimeError):  # just now something else is being written
            self.say(line)
