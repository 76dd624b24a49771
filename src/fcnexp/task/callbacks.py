"""Progress output of a training, and the list of all its callbacks."""

import logging
import sys
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from fcnexp.system.this_process import rank
from fcnexp.task.cost import Cost
from fcnexp.task.saving import BestScore, LastCheckpoint
from fcnexp.task.stopping import StopAfterStep, StoppedEarly

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
    """One progress bar for the whole training, and one for each scoring, of constant width.

    All its fields have fixed widths, so that the bar fills what is left of the line: 16 of 80
    columns. Drawn on stderr, so that redirected output stays readable.
    """

    TRAINING = "{n_fmt:>6}/{total_fmt}|{bar}|{remaining:>8} left, {rate_noinv_fmt:>10}{postfix}"
    SCORING = "scoring {n_fmt:>6}/{total_fmt}|{bar}|{remaining:>8} left"

    def init_train_tqdm(self) -> Tqdm:
        """Return the bar of the training."""
        return self._bar(self.TRAINING, smoothing=0)

    def init_validation_tqdm(self) -> Tqdm:
        """Return the bar of one scoring, below that of the training if there is one."""
        within = self.trainer.state.fn != "validate"
        return self._bar(self.SCORING, position=int(within), leave=not within)

    def _bar(self, fields: str, **settings: Any) -> Tqdm:
        off = self.is_disabled
        return Tqdm(bar_format=fields, disable=off, dynamic_ncols=True, file=sys.stderr, **settings)

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Start the bar; the sampler is endless, so there is one epoch."""
        super().on_train_epoch_start(trainer, *_)
        self.train_progress_bar.set_postfix(self.get_metrics(trainer, trainer.lightning_module))

    def on_exception(self, *_: Any) -> None:
        """Close the bars, so that the error message starts on a new line."""
        for bar in (self._val_progress_bar, self._train_progress_bar):
            if bar is not None:
                bar.close()

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """Return the loss and the last mean IU in percent; dashes before there are any."""
        loss, miou = (trainer.callback_metrics.get(name) for name in ("train/loss", "val/miou"))
        return {
            "loss": "-.---" if loss is None else fixed(float(loss), 5),
            "mean IU": "--.-" if miou is None else fixed(100 * float(miou), 4),
        }


def fixed(value: float, width: int) -> str:
    """Return a number of 0 or more in 4 or 5 characters: `0.123`, `12.35`, `1234.`, `1e+05`."""
    for decimals in range(width - 2, -1, -1):
        text = f"{value:.{decimals}f}"
        if len(text) <= width:
            return text if len(text) == width else f"{text}."
    return f"{value:.0e}"


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
    last = LastCheckpoint(checkpoints)
    return [best, last, ScoreLines(), Cost(), StopAfterStep(), StoppedEarly()]
