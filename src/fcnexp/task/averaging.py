"""Exponential moving average of the weights."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class Ema(WeightAveraging):
    """Keeps the exponential moving average of weights and buffers, and scores it.

    Scorings during and after the training are of the average, and checkpoints hold it as the net's
    weights; those of the training are stored as well, so that a resumed run goes on exactly.

    decay: of the average at each update, in [0, 1). warmup: take (1 + n) / (10 + n) at update n
    while that is less. every: steps between updates. device: of the average; None: that of the
    weights. Raises ValueError.
    """

    def __init__(self, *, decay: float, warmup: bool, every: int, device: str | None) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: must be 0 or more and below 1, such as 0.999")
        if every < 1:
            raise ValueError(f"every={every}: must be 1 step or more")
        self.decay, self.warmup, self.every = decay, warmup, every
        self._trained: dict[str, Tensor] | None = None  # state of the module when training ended
        super().__init__(device=device, avg_fn=self._averaged)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return True after every `every`-th step; step_idx counts from 0."""
        return step_idx is not None and (step_idx + 1) % self.every == 0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Move the average to the weights, which are on their device only now."""
        if self._device is None and self._average_model is not None:
            self._average_model.to(pl_module.device)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the module the average, and keep the trained weights for a last checkpoint."""
        self._trained = {n: value.clone() for n, value in pl_module.state_dict().items()}
        super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store the average as the module's weights, and the trained weights beside it."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._trained is not None:  # a run of more steps goes on from them
            checkpoint["current_model_state"] = self._trained

    def _averaged(self, average: Tensor, current: Tensor, updates: Tensor) -> Tensor:
        """Return the new average of one tensor; of equal tensors exactly that tensor."""
        if not average.is_floating_point():
            return current  # a count of batches
        decay = torch.full_like(updates, self.decay, dtype=average.dtype)
        if self.warmup:
            decay = decay.minimum((1 + updates) / (10 + updates))
        return torch.lerp(current.to(average.device), average, decay)
