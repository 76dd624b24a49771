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

LINE_SECONDS = 30.0  # between two lines of a training whose output is no terminal


class ScoreLines(Callback):
    """Print a line at each scoring: step, loss, mean IU, seconds since the start.

    Without a progress bar, also print speed and time left after the first step and every
    `LINE_SECONDS`, so that the log of a long training shows that it advances.
    """

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.start = time.monotonic()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember where a resumed training starts."""
        self.first, self.first_time = trainer.global_step, time.monotonic()
        self.line_time: float | None = None

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Write a line if it is time and no bar is drawn."""
        now, step = time.monotonic(), trainer.global_step
        if step == self.first or step >= trainer.max_steps or trainer.progress_bar_callback:
            return
        if self.line_time is not None and now - self.line_time < LINE_SECONDS:
            return
        self.line_time = now
        line = f"{_position(trainer)}: loss {_loss(trainer):.3f}"
        if step > self.first + 1:
            speed = (step - self.first) / (now - self.first_time)
            left = (trainer.max_steps - step) / speed
            line += f", {speed:.2f} steps/s, {_duration(left)} left"
        log.info(line)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the line of a scoring."""
        if trainer.state.fn != "fit":
            return
        line = (
            f"{_position(trainer)}: loss {_loss(trainer):.3f}, "
            f"mean IU {100 * trainer.callback_metrics['val/miou']:.1f} %, "
            f"{time.monotonic() - self.start:.0f} s"
        )
        bar = trainer.progress_bar_callback
        if bar is not None:
            bar.print(line)  # above the bar
        else:
            log.info(line)


def _position(trainer: L.Trainer) -> str:
    return f"step {trainer.global_step} of {trainer.max_steps}"


def _loss(trainer: L.Trainer) -> float:
    return float(trainer.callback_metrics.get("train/loss", float("nan")))


def _duration(seconds: float) -> str:
    """Return a duration in its two largest units: `2 h 05 min`, `12 min`, `40 s`."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min" if seconds >= 60 else f"{seconds:.0f} s"


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
