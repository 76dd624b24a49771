"""What happens around training: checkpoints, and progress that people can read."""

import logging
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.utilities.exceptions import SIGTERMException

from fcnexp.machine import rank
from fcnexp.paths import LAST
from fcnexp.task.cost import Cost

log = logging.getLogger(__name__)

STOPS = (signal.SIGTERM, signal.SIGINT)


class ScoreLines(Callback):
    """One line at each scoring: step, loss, mean IU, seconds since the start."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.start = time.monotonic()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the line."""
        if trainer.state.fn != "fit":
            return
        metrics = trainer.callback_metrics
        line = (
            f"step {trainer.global_step} of {trainer.max_steps}: "
            f"loss {metrics.get('train/loss', float('nan')):.3f}, "
            f"mean IU {100 * metrics['val/miou']:.1f} %, {time.monotonic() - self.start:.0f} s"
        )
        bar = trainer.progress_bar_callback
        if bar is not None:
            bar.print(line)  # above the bar, not through it
        else:
            log.info(line)


class Bar(TQDMProgressBar):
    """One bar for the whole training, and one for each scoring."""

    validation_description = "scoring"

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Name the bar: there are no epochs, the sampler has no end."""
        super().on_train_epoch_start(trainer, *_)
        self.train_progress_bar.set_description("training")

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """The loss, and the last mean IU."""
        shown = {"loss": trainer.callback_metrics.get("train/loss")}
        shown["mean IU"] = trainer.callback_metrics.get("val/miou")
        return {name: f"{float(value):.3f}" for name, value in shown.items() if value is not None}


def on_terminal() -> bool:
    """Whether somebody is watching: bars are for a terminal, lines for a log."""
    return rank() == 0 and sys.stderr.isatty()


def progress_bars() -> list[Callback]:
    """A bar on a terminal, nothing in a log."""
    return [Bar()] if on_terminal() else []


class LastCheckpoint(ModelCheckpoint):
    """`last.ckpt`, written anew at each scoring, and when training is stopped from outside.

    Any other exception may come in the middle of a step, when batch normalisation has seen images
    of which the weights know nothing: whatever went on from there would end elsewhere.
    """

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Write it on Ctrl-C and SIGTERM."""
        if isinstance(exception, KeyboardInterrupt | SIGTERMException):
            super().on_exception(trainer, pl_module, exception)


class StopTogether(Callback):
    """Lets SIGTERM and Ctrl-C end several processes of one run behind the same step.

    The first process is told, and tells the others at the end of its step; these are deaf.
    Lightning tells them within the handler, wherever they are, and what they exchange just then is
    mixed up.
    """

    def __init__(self) -> None:
        self.asked = False
        self.before: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen, once Lightning does."""
        if trainer.world_size > 1:
            handler = self._ask if trainer.is_global_zero else signal.SIG_IGN
            self.before = {each: signal.signal(each, handler) for each in STOPS}

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stop, in all processes, if the first was asked to and a step is done."""
        if trainer.world_size > 1 and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            asked = torch.tensor(float(self.asked), device=trainer.strategy.root_device)
            torch.distributed.broadcast(asked, src=0)
            if asked:
                raise SIGTERMException

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Listen no more."""
        for each, handler in self.before.items():
            signal.signal(each, handler)
        self.before = {}

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        self.asked = True


def training_callbacks(folder: Path) -> list[Callback]:
    """The last checkpoint, a line at each scoring, and what the training cost."""
    last = LastCheckpoint(
        folder / "checkpoints",
        filename=LAST.removesuffix(".ckpt"),
        enable_version_counter=False,
        save_on_exception=True,
    )
    return [last, ScoreLines(), Cost(), StopTogether()]
