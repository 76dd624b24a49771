"""Progress output of a training, and the list of all its callbacks."""

import logging
import sys
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, TQDMProgressBar

from fcnexp.system.this_process import rank
from fcnexp.task.cost import Cost
from fcnexp.task.saving import BestScore, LastCheckpoint
from fcnexp.task.stopping import StopAfterStep

log = logging.getLogger(__name__)


class ScoreLines(Callback):
    """Print a line at each scoring: step, loss, mean IU, seconds since the start."""

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
            bar.print(line)  # above the bar
        else:
            log.info(line)


class Bar(TQDMProgressBar):
    """One progress bar for the whole training, and one for each scoring."""

    validation_description = "scoring"

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Label the bar `training`: the sampler is endless, so there are no epochs to count."""
        super().on_train_epoch_start(trainer, *_)
        self.train_progress_bar.set_description("training")

    def on_exception(self, *_: Any) -> None:
        """Close the bars, so that the error message starts on a new line."""
        for bar in (self._val_progress_bar, self._train_progress_bar):
            if bar is not None:
                bar.close()

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """Return the loss and the last mean IU."""
        shown = {"loss": trainer.callback_metrics.get("train/loss")}
        shown["mean IU"] = trainer.callback_metrics.get("val/miou")
        return {name: f"{float(value):.3f}" for name, value in shown.items() if value is not None}


def on_terminal() -> bool:
    """Return True if this is rank 0 and stderr is a terminal: only then are bars drawn."""
    return rank() == 0 and sys.stderr.isatty()


def progress_bars() -> list[Callback]:
    """Return a progress bar if stderr is a terminal, else nothing."""
    return [Bar()] if on_terminal() else []


def training_callbacks(folder: Path, *, keep_best: bool) -> list[Callback]:
    """Return the callbacks that save, report, measure cost and handle stop signals.

    keep_best: also write the checkpoint of the scoring with the highest mean IU.
    """
    checkpoints = folder / "checkpoints"
    best = BestScore(checkpoints if keep_best else None)
    # Lightning runs LastCheckpoint (a `Checkpoint`) last, so last.ckpt holds the best score so far.
    return [best, LastCheckpoint(checkpoints), ScoreLines(), Cost(), StopAfterStep()]
