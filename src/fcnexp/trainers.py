"""The Trainers of a run: device, number format, progress."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from fcnexp.errors import ConfigError
from fcnexp.paths import LAST
from fcnexp.task.callbacks import on_terminal, progress_bars, training_callbacks

ACCELERATORS = ("auto", "cpu", "gpu")
# No float16: a loss summed over pixels overflows it.
PRECISIONS = ("auto", "32-true", "bf16-mixed")


def build_trainer(
    cfg: DictConfig, folder: Path, loggers: Sequence[Logger], callbacks: Sequence[Callback] = ()
) -> L.Trainer:
    """Lightning's Trainer: as many steps as the regime says, scored now and then."""
    quiet_lightning()
    regime = cfg.regime
    passes = regime.steps * regime.accumulate
    return L.Trainer(
        **machine(cfg),
        default_root_dir=folder,
        max_steps=regime.steps,
        limit_train_batches=passes,  # the sampler never ends; the bar shows the whole training
        accumulate_grad_batches=regime.accumulate,
        gradient_clip_val=regime.clip,
        val_check_interval=min(regime.score_every * regime.accumulate, passes),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=min(10, passes),
        logger=list(loggers),
        enable_progress_bar=on_terminal(),
        callbacks=[*training_callbacks(folder), *callbacks, *progress_bars()],
        enable_model_summary=False,
    )


def save_last(trainer: L.Trainer, folder: Path) -> None:
    """Store the weights as they are now, whether or not the last step was a scoring one."""
    trainer.save_checkpoint(folder / "checkpoints" / LAST)


def build_scorer(cfg: DictConfig, trained_in: str) -> L.Trainer:
    """A Trainer that only scores, and writes nothing.

    trained_in: precision of the checkpoint's run, which `auto` repeats, so that scores do too.
    """
    quiet_lightning()
    settings = machine(cfg)
    if cfg.trainer.precision == "auto":
        settings["precision"] = trained_in
    return L.Trainer(
        **settings,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=on_terminal(),
        callbacks=progress_bars(),
    )


def machine(cfg: DictConfig) -> dict[str, Any]:
    """Device and number format for a Trainer. Raises ConfigError where there is no such device."""
    choice = cfg.trainer
    for key, allowed in (("accelerator", ACCELERATORS), ("precision", PRECISIONS)):
        if choice[key] not in allowed:
            raise ConfigError(f"trainer.{key}={choice[key]}: allowed are {', '.join(allowed)}")
    if choice.devices != 1:
        raise ConfigError(
            f"trainer.devices={choice.devices}: one device a run; start several runs instead"
        )
    if choice.accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("trainer.accelerator=gpu: torch sees no GPU here; choose trainer=cpu")
    on_gpu = choice.accelerator == "gpu" or (
        choice.accelerator == "auto" and torch.cuda.is_available()
    )
    precision = choice.precision
    if precision == "auto":
        precision = "bf16-mixed" if multiplies_bfloat16(on_gpu) else "32-true"
    if precision == "32-true":  # else cuDNN rounds what it multiplies to 10 bits
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    return {
        "accelerator": choice.accelerator,
        "devices": choice.devices,
        "precision": precision,
    }


def multiplies_bfloat16(on_gpu: bool) -> bool:
    """Whether the device has instructions for it; elsewhere it is emulated and slow."""
    if on_gpu:
        return torch.cuda.get_device_capability() >= (8, 0)
    capability = torch.backends.cpu.get_cpu_capability()
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)  # private: may go away
    return capability == "AVX512" and bool(has())


def quiet_lightning() -> None:
    """Keep Lightning's notes on devices and products from the terminal; warnings stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
