"""What happens around training: checkpoints, and progress that people can read."""

import logging
import resource
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.utilities.exceptions import SIGTERMException

log = logging.getLogger(__name__)

LAST = "last.ckpt"


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


class Cost(Callback):
    """Counts what a run takes; `cost_facts` tells it."""

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0  # of training, without the scorings in between
        self.since: float | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Forget the memory of what ran before on this GPU."""
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(trainer.strategy.root_device)

    def on_train_batch_start(self, *_: Any) -> None:
        """Go on with the clock, unless it is running."""
        if self.since is None:
            self.since = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the images."""
        self.images += len(batch.names)

    def on_validation_start(self, *_: Any) -> None:
        """Stop the clock."""
        self._stop()

    def on_train_end(self, *_: Any) -> None:
        """Stop the clock."""
        self._stop()

    def _stop(self) -> None:
        if self.since is not None:
            self.seconds += time.monotonic() - self.since
            self.since = None


def cost_facts(trainer: L.Trainer) -> dict[str, Any]:
    """What a run took, for its record; None where nothing was measured.

    images_per_second: of training, from reading to the optimiser's step. ms_per_image: median over
    the images of the last scoring, see `SegmentationTask.scoring_seconds`. peak_memory: bytes; on a
    GPU what torch allocated for this run, else of the whole process since it began. parameters: of
    the net, fixed ones included.
    """
    cost = next(each for each in trainer.callbacks if isinstance(each, Cost))  # type: ignore[attr-defined]
    task: Any = trainer.lightning_module
    device = trainer.strategy.root_device
    on_gpu = device.type == "cuda"
    scoring = task.scoring_seconds
    unit = 1 if sys.platform == "darwin" else 1024  # bytes, of what getrusage counts by
    resident = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu = f"CPU, threads: {torch.get_num_threads()}"
    return {
        "images_per_second": round(cost.images / cost.seconds, 2) if cost.seconds else None,
        "ms_per_image": round(1000 * median(scoring), 3) if scoring else None,
        "peak_memory": torch.cuda.max_memory_allocated(device) if on_gpu else resident,
        "parameters": sum(p.numel() for p in task.net.parameters()),
        "device": torch.cuda.get_device_name(device) if on_gpu else cpu,
    }


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
    return sys.stderr.isatty()


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


def training_callbacks(folder: Path) -> list[Callback]:
    """The last checkpoint, a line at each scoring, and what the training cost."""
    last = LastCheckpoint(
        folder / "checkpoints",
        filename=LAST.removesuffix(".ckpt"),
        enable_version_counter=False,
        save_on_exception=True,
    )
    return [last, ScoreLines(), Cost()]
