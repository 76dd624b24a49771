"""Callbacks that write a training's checkpoints, atomically."""

from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Callback, Checkpoint

from fcnexp.system import checkpoint_store
from fcnexp.system.checkpoint_store import BEST, LAST, PREVIOUS
from fcnexp.task.stopping import StopRequested

# Entries of a checkpoint that is kept for its weights alone.
OF_WEIGHTS = ("epoch", "global_step", "pytorch-lightning_version", "state_dict", "fcnexp")


class AtomicCheckpointIO(CheckpointIO):
    """Writes checkpoints atomically, see `checkpoint_store`, and keeps the one before the last.

    Of the best checkpoint it writes the weights alone. Lightning's own way would leave out the
    callbacks, and with them an average of the weights, whose score it is.

    read: loads a file without running code that it may contain.
    """

    def __init__(self, read: Callable[[Path], dict[str, Any]]) -> None:
        self.read = read

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint. Raises OSError, and then keeps the file that was there before."""
        path = Path(path)
        if path.name == BEST:
            checkpoint = {name: checkpoint[name] for name in OF_WEIGHTS}
        before = PREVIOUS if path.name == LAST else None
        checkpoint_store.store(path, lambda file: torch.save(checkpoint, file), before)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint to the CPU; Lightning moves it on. Raises what `read` raises."""
        return self.read(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint if it exists."""
        Path(path).unlink(missing_ok=True)


class LastCheckpoint(Checkpoint):
    """Writes `last.ckpt` at each scoring, and when training is stopped after a step.

    Not at other exceptions: they may come in the middle of a step, when batch normalisation has
    seen images that the weights have not, and a run resumed from there would end differently.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LAST
        self.step: int | None = None  # of the file on disk

    def save(self, trainer: L.Trainer) -> None:
        """Write the checkpoint unless this step's is on disk. Raises OSError."""
        if self.step != trainer.global_step:
            trainer.save_checkpoint(self.path, weights_only=False)
            self.step = trainer.global_step

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the checkpoint."""
        if trainer.state.fn == "fit":
            self.save(trainer)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Write the checkpoint if a signal stopped the training."""
        if isinstance(exception, StopRequested) and trainer.global_step:
            self.save(trainer)


class BestScore(Callback):
    """Remembers the step with the highest mean IU, the first of equal ones.

    folder: where the weights of that step are written, as `best.ckpt`; None for no file.
    Each checkpoint stores step and score, so that a resumed run still has them.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.step: int | None = None
        self.miou: float | None = None

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare with the best score so far, and write the file if this one is higher."""
        miou = float(trainer.callback_metrics["val/miou"])
        if isnan(miou) or (self.miou is not None and miou <= self.miou):
            return
        self.step, self.miou = trainer.global_step, miou
        if self.folder is not None:
            trainer.save_checkpoint(self.folder / BEST, weights_only=False)

    def state_dict(self) -> dict[str, Any]:
        """Return step and score."""
        return {"step": self.step, "miou": self.miou}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore step and score."""
        self.step, self.miou = state_dict["step"], state_dict["miou"]
