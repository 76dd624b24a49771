"""What happens around training: checkpoints, and progress that people can read."""

import logging
import sys
import time
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar

log = logging.getLogger(__name__)


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
        log.info(
            "step %d of %d: loss %.3f, mean IU %.1f %%, %.0f s",
            trainer.global_step,
            trainer.max_steps,
            metrics.get("train/loss", float("nan")),
            100 * metrics["val/miou"],
            time.monotonic() - self.start,
        )


class Bar(TQDMProgressBar):
    """One bar for the whole training, without the run's version and the epoch."""

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, object]:
        """The loss, and the last mean IU."""
        shown = {"loss": trainer.callback_metrics.get("train/loss")}
        shown["mean IU"] = trainer.callback_metrics.get("val/miou")
        return {name: f"{float(value):.3f}" for name, value in shown.items() if value is not None}


def training_callbacks(folder: Path) -> list[Callback]:
    """A checkpoint at each scoring (`last.ckpt`), a line for each, and a bar on a terminal."""
    last = ModelCheckpoint(
        folder / "checkpoints", filename="step{step}", auto_insert_metric_name=False, save_last=True
    )
    callbacks: list[Callback] = [last, ScoreLines()]
    if sys.stderr.isatty():
        callbacks.append(Bar())
    return callbacks
