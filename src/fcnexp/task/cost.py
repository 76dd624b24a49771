"""Cost of a run: speed, peak memory and learning rates, logged during training."""

import resource
import sys
import time
from statistics import median
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch.optim import Optimizer


class Cost(Callback):
    """Measures the cost of a run for `cost_facts` and logs it every `log_every_n_steps` steps.

    Logged: `lr/GROUP` of each parameter group; `cost/images_per_second` since the last log entry,
    without scorings; and `cost/peak_memory`, see `peak_memory`.
    """

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0  # of training, without scorings
        self.since: float | None = None
        self.rates: dict[str, float] = {}  # of the step to be logged
        self.logged = (0, 0.0)  # images and seconds at the last log entry

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Reset the GPU's peak, so that earlier work in this process does not count."""
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(trainer.strategy.root_device)

    def on_train_batch_start(self, *_: Any) -> None:
        """Start the clock if it is stopped."""
        if self.since is None:
            self.since = time.monotonic()

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        """Keep the rates of a step to be logged, before the schedule changes them."""
        if (trainer.global_step + 1) % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]  # set late
            self.rates = {
                f"lr/{group['name'].replace(' ', '_')}": float(group["lr"])
                for group in optimizer.param_groups
            }

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
        if self.rates:
            values = self.rates | {"cost/peak_memory": peak_memory(trainer.strategy.root_device)}
            seconds = self.seconds + (time.monotonic() - self.since if self.since else 0)
            if seconds > self.logged[1]:
                speed = (self.images - self.logged[0]) / (seconds - self.logged[1])
                speed *= trainer.world_size  # each process trains on as many images
                values["cost/images_per_second"] = round(speed, 2)
            log_now(trainer, values)
            self.rates, self.logged = {}, (self.images, seconds)

    def on_validation_start(self, *_: Any) -> None:
        """Stop the clock."""
        if self.since is not None:
            self.seconds += time.monotonic() - self.since
            self.since = None

    def on_train_end(self, *_: Any) -> None:
        """Stop the clock."""
        self.on_validation_start()


def log_now(trainer: L.Trainer, values: dict[str, Any]) -> None:
    """Log plain values; `LightningModule.log` would round them to float32."""
    for logger in trainer.loggers:
        logger.log_metrics(values, step=trainer.global_step)


def peak_memory(device: torch.device) -> int:
    """Return peak bytes: allocated by torch for this run on a GPU, else of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes per unit of ru_maxrss
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def cost_facts(trainer: L.Trainer) -> dict[str, Any]:
    """Return the cost of a run for its record; None for values that were not measured.

    images_per_second: of training, from reading to the optimiser's step. ms_per_image: median over
    the images of the last scoring, see `SegmentationTask.scoring_seconds`. peak_memory: bytes, see
    `peak_memory`. parameters: of the net, including fixed ones.
    """
    cost = next(each for each in trainer.callbacks if isinstance(each, Cost))  # type: ignore[attr-defined]  # set late
    task: Any = trainer.lightning_module
    device = trainer.strategy.root_device
    on_gpu = device.type == "cuda"
    scoring = task.scoring_seconds()
    name = (
        torch.cuda.get_device_name(device) if on_gpu else f"CPU, threads: {torch.get_num_threads()}"
    )
    several = f", processes: {trainer.world_size}" if trainer.world_size > 1 else ""
    images = cost.images * trainer.world_size
    return {
        "images_per_second": round(images / cost.seconds, 2) if cost.seconds else None,
        "ms_per_image": round(1000 * median(scoring), 3) if scoring else None,
        "peak_memory": peak_memory(device),
        "parameters": sum(p.numel() for p in task.net.parameters()),
        "device": name + several,
    }
