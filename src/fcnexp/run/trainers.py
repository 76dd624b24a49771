"""The Trainers of a run: devices, number format, progress."""

import logging
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from omegaconf import DictConfig
from torch import nn

from fcnexp.config.checks import GRAPHS, SHORT
from fcnexp.errors import ConfigError
from fcnexp.nn.fast.recompute import recompute_blocks
from fcnexp.nn.weights.checkpoints import read_checkpoint
from fcnexp.run.ranks import divided
from fcnexp.system.this_process import announce_ranks
from fcnexp.task.callbacks import on_terminal, progress_bars, training_callbacks
from fcnexp.task.saving import AtomicCheckpointIO

T = TypeVar("T", bound=Callback)


def build_trainer(
    cfg: DictConfig, folder: Path, loggers: Sequence[Logger], callbacks: Sequence[Callback] = ()
) -> L.Trainer:
    """Lightning's Trainer: as many steps as the regime says, scored now and then."""
    quiet_lightning()
    set_up(cfg)
    regime, accumulate = cfg.regime, divided(cfg).accumulate
    passes = regime.steps * accumulate
    settings = machine(cfg)
    settings["plugins"] += [AtomicCheckpointIO(read_checkpoint)]
    return L.Trainer(
        **settings,
        default_root_dir=folder,
        max_steps=regime.steps,
        limit_train_batches=passes,  # the sampler never ends; the bar shows the whole training
        accumulate_grad_batches=accumulate,
        gradient_clip_val=regime.clip,
        val_check_interval=min(regime.score_every * accumulate, passes),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=min(10, passes),
        logger=list(loggers),
        enable_progress_bar=on_terminal(),
        callbacks=[
            *training_callbacks(folder, keep_best=cfg.keep_best),
            *callbacks,
            *progress_bars(),
        ],
        enable_model_summary=False,
    )


def callback(trainer: L.Trainer, kind: type[T]) -> T:
    """The callback of this class that a trainer has."""
    return next(each for each in trainer.callbacks if isinstance(each, kind))  # type: ignore[attr-defined]  # set late


def build_scorer(cfg: DictConfig, trained_in: str) -> L.Trainer:
    """A Trainer that only scores, and writes nothing.

    trained_in: precision of the checkpoint's run, which `auto` repeats, so that scores do too.
    """
    quiet_lightning()
    set_up(cfg)
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
    """Devices and number format for a Trainer. Raises ConfigError where there are no such devices.

    Several devices are as many processes, which DDP keeps at the same weights.
    """
    choice = cfg.trainer
    precision = SHORT.get(choice.precision, choice.precision)
    if choice.accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("trainer.accelerator=gpu: torch sees no GPU here; choose trainer=cpu")
    on_gpu = choice.accelerator != "cpu" and torch.cuda.is_available()
    _refuse_compile(choice.compile, on_gpu)
    if choice.devices > 1:
        _refuse_several(choice.devices, on_gpu)
        announce_ranks()
    if precision == "auto":
        precision = "bf16-mixed" if multiplies_bfloat16(on_gpu) else "32-true"
    return {
        "accelerator": choice.accelerator,
        "devices": choice.devices,
        "precision": precision,
        "strategy": "ddp" if choice.devices > 1 else "auto",
        "use_distributed_sampler": False,  # ours deal each image to one process
        # Lightning's own way to have a job queued again saves in the middle of a step.
        "plugins": [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else [],
    }


def speed_up(cfg: DictConfig, net: nn.Module) -> None:
    """Compile the net, and make it train in less memory, as `trainer` says; once for each net.

    Names in a checkpoint stay. It is compiled when it is first run.
    """
    if cfg.trainer.activation_checkpointing:
        recompute_blocks(net)
    if cfg.trainer.compile:
        net.compile(mode=None if cfg.trainer.compile is True else cfg.trainer.compile)


def _refuse_compile(choice: Any, on_gpu: bool) -> None:
    """Raise ConfigError where a net cannot be compiled so."""
    if choice == GRAPHS and not on_gpu:
        raise ConfigError(f"trainer.compile={GRAPHS}: CUDA graphs need a GPU; choose true or false")
    compilers = (os.environ.get("CXX", "g++"), "g++", "clang++")
    if choice and not any(map(shutil.which, compilers)):
        raise ConfigError(
            "trainer.compile=true: torch needs a C++ compiler, and there is none; apt-get install "
            "g++, or trainer.compile=false"
        )


def _refuse_several(devices: int, on_gpu: bool) -> None:
    """Raise ConfigError where a run cannot have so many processes."""
    told = f"trainer.devices={devices}: "
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise ConfigError(
            f"{told}in a sweep it needs each job to be a process of its own; add "
            "hydra/launcher=subprocess"
        )
    if on_gpu and devices > (found := torch.cuda.device_count()):
        raise ConfigError(
            f"{told}torch sees {found}; CUDA_VISIBLE_DEVICES says which, in a sweep "
            "hydra.launcher.gpus=['0,1'] for each job at a time"
        )


def set_up(cfg: DictConfig) -> None:
    """Tell torch how many threads to use, and how to multiply float32.

    Several processes without a GPU divide the threads among them.
    """
    torch.backends.cudnn.allow_tf32 = cfg.trainer.tf32
    torch.backends.cuda.matmul.allow_tf32 = cfg.trainer.tf32
    threads = cfg.trainer.threads
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # else Lightning sets them anew
        torch.set_num_threads(threads)
    elif cfg.trainer.devices > 1 and not torch.distributed.is_initialized():
        torch.set_num_threads(max(1, torch.get_num_threads() // cfg.trainer.devices))


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
    # All processes log the scores of the whole set, which each has.
    warnings.filterwarnings("ignore", message=".*recommended to use `.*sync_dist=True.*")
