"""Checkpoints of a training: when they are written, and how."""

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
from fcnexp.task.stopping import Asked


class WholeFiles(CheckpointIO):
    """Writes them whole or not at all; see `checkpoint_files`. Behind the last is the one before.

    read: reads one, and runs no code that may be in it.
    """

    def __init__(self, read: Callable[[Path], dict[str, Any]]) -> None:
        self.read = read

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write one. Raises OSError; the file that was there then still is."""
        path = Path(path)
        before = PREVIOUS if path.name == LAST else None
        checkpoint_store.store(path, lambda file: torch.save(checkpoint, file), before)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read one, to the CPU, from where Lightning moves it. Raises what `read` does."""
        return self.read(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove one."""
        Path(path).unlink(missing_ok=True)


class LastCheckpoint(Checkpoint):
    """`last.ckpt`, written anew at each scoring, and when training is stopped behind a step.

    Any other exception may come in the middle of a step, when batch normalisation has seen images
    of which the weights know nothing: whatever went on from there would end elsewhere.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LAST
        self.step: int | None = None  # of the file

    def save(self, trainer: L.Trainer) -> None:
        """Write it, unless it is there. Raises OSError."""
        if self.step != trainer.global_step:
            trainer.save_checkpoint(self.path, weights_only=False)
            self.step = trainer.global_step

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write it."""
        if trainer.state.fn == "fit":
            self.save(trainer)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Write it where somebody has asked for the end."""
        if isinstance(exception, Asked) and trainer.global_step:
            self.save(trainer)


class BestScore(Callback):
    """Keeps in mind at which scoring the mean IU was highest, the first time if it came again.

    folder: gets the weights of that step, as `best.ckpt`; None for no file.
    It survives a stop: what it knows is in each checkpoint.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.step: int | None = None
        self.miou: float | None = None

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare, and write the file."""
        miou = float(trainer.callback_metrics["val/miou"])
        if isnan(miou) or (self.miou is not None and miou <= self.miou):
            return
        self.step, self.miou = trainer.global_step, miou
        if self.folder is not None:
            trainer.save_checkpoint(self.folder / BEST, weights_only=True)

    def state_dict(self) -> dict[str, Any]:
        """Step and score."""
        return {"step": self.step, "miou": self.miou}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them over."""
        self.step, self.miou = state_dict["step"], state_dict["miou"]
