"""Epochs as another way to say steps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from fcnexp.errors import ConfigError

if TYPE_CHECKING:  # Lightning
    from fcnexp.data.datamodule import SegmentationData


def count_steps(cfg: DictConfig, data: "SegmentationData") -> None:
    """Set `regime.steps` to the steps of `trainer.max_epochs` over this data, and print it."""
    data.setup("fit")
    assert data.train is not None
    cfg.regime.steps = steps_of(cfg, len(data.train))
    print(f"{cfg.trainer.max_epochs} epochs of {len(data.train)} images: {cfg.regime.steps} steps")


def steps_of(cfg: DictConfig, images: int) -> int:
    """Return the steps that `trainer.max_epochs` passes over so many training images make.

    The last step of an epoch is whole: draws go on into the next epoch. `limit_train_batches`
    shortens an epoch to a number of batches, or to a fraction of them, rounded down.
    """
    regime, limit = cfg.regime, cfg.trainer.get("limit_train_batches")
    batches = -(-images // regime.batch_size)
    if isinstance(limit, float):
        batches = max(1, int(batches * limit))
    elif limit is not None:
        batches = min(batches, limit)
    return int(max(1, -(-cfg.trainer.max_epochs * batches // regime.accumulate)))


def refuse_two_lengths(cfg: DictConfig, typed: Sequence[str]) -> None:
    """Raise ConfigError if both steps and epochs were given. typed: keys of the command."""
    if "max_epochs" in cfg.trainer and "regime.steps" in typed:
        raise ConfigError(
            f"trainer.max_epochs={cfg.trainer.max_epochs} and regime.steps={cfg.regime.steps}: two "
            "lengths of the training; remove one of them"
        )
