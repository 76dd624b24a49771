"""The Trainers of a run: devices, number format, progress."""

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from omegaconf import DictConfig
from torch import nn

from fcnexp.config.checks import FLOAT16, GRAPHS
from fcnexp.config.trainer_arguments import IN_STEPS, PASSED
from fcnexp.config.values import to_plain
from fcnexp.errors import ConfigError, TrainingError
from fcnexp.nn.fast.recompute import recompute_blocks
from fcnexp.nn.weights.checkpoints import read_checkpoint
from fcnexp.run import run_folder
from fcnexp.run.precisions import first_factor, precision_of, precision_to_score_in
from fcnexp.run.ranks import divided
from fcnexp.run.run_folder import Stopped
from fcnexp.run.staging import Stage
from fcnexp.system import this_process
from fcnexp.system.this_process import announce_ranks
from fcnexp.task.callbacks import on_terminal, progress_bars, training_callbacks
from fcnexp.task.saving import AtomicCheckpointIO, LastCheckpoint

T = TypeVar("T", bound=Callback)
_PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}


def build_trainer(
    cfg: DictConfig, folder: Path, loggers: Sequence[Logger], callbacks: Sequence[Callback] = ()
) -> L.Trainer:
    """Return a Trainer for the regime's steps, with a validation every `score_every` steps."""
    quiet_lightning()
    set_up(cfg)
    regime, accumulate = cfg.regime, divided(cfg).accumulate
    passes = regime.steps * accumulate
    own = arguments(cfg, folder)
    bars = progress_bars() if own.get("enable_progress_bar", True) else []
    settings = machine(cfg)
    settings["plugins"] += [AtomicCheckpointIO(read_checkpoint)]
    if settings["precision"] == FLOAT16:
        del settings["precision"]  # Lightning refuses both
        settings["plugins"] += [scaled_float16(cfg)]
    settings |= {
        "default_root_dir": folder,
        "max_steps": regime.steps,
        "limit_train_batches": passes,  # the sampler is infinite; the progress bar needs a total
        "accumulate_grad_batches": accumulate,
        "gradient_clip_val": regime.clip,
        "val_check_interval": min(regime.score_every * accumulate, passes),
        "check_val_every_n_epoch": None,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": min(10, passes),
        "logger": list(loggers),
        "enable_progress_bar": on_terminal(),
        "callbacks": [
            *training_callbacks(folder, keep_best=cfg.keep_best),
            *callbacks,
            *bars,
        ],
        "enable_model_summary": False,
    }
    try:
        return L.Trainer(**settings | own)
    except (MisconfigurationException, ValueError, TypeError) as error:
        given = ", ".join(f"trainer.{name}={cfg.trainer[name]}" for name in own)
        if not given:
            raise
        raise ConfigError(f"{given}: Lightning's Trainer refuses it: {error}") from None


def arguments(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Arguments of Lightning's Trainer that were typed, apart from those that count steps.

    A profiler writes its table into the folder: Lightning would print it as a message, which are
    silenced here.
    """
    names = [name for name in PASSED if name in cfg.trainer and name not in IN_STEPS]
    own = {name: to_plain(cfg.trainer)[name] for name in names}
    if "min_steps" in own:
        own["min_epochs"] = 0  # otherwise Lightning sets 1, and nothing stops in the only epoch
    if (kind := own.get("profiler")) is not None:
        own["profiler"] = _PROFILERS[kind](dirpath=folder, filename="profile")
    return own


def callback(trainer: L.Trainer, kind: type[T]) -> T:
    """Return the trainer's callback of this class."""
    return next(each for each in trainer.callbacks if isinstance(each, kind))  # type: ignore[attr-defined]  # set late


def build_scorer(cfg: DictConfig, trained_in: str) -> L.Trainer:
    """Return a Trainer that only validates and writes nothing.

    trained_in: precision of the checkpoint's run; `auto` uses it, so that the scores are the same.
    """
    quiet_lightning()
    set_up(cfg)
    settings = machine(cfg)
    settings["precision"] = precision_to_score_in(cfg.trainer, trained_in, uses_gpu(cfg))
    return L.Trainer(
        **settings,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=on_terminal(),
        callbacks=progress_bars(),
    )


@contextmanager
def explained(stage: Stage, trainer: L.Trainer, stopped: Stopped | None) -> Iterator[None]:
    """Turn stop signals and failures of a training into a message on how to resume it."""
    try:
        yield
    except SIGTERMException as stop:
        # Lightning would exit with 0, which it expects of all processes but the first.
        step = callback(trainer, LastCheckpoint).step or (stopped and stopped.step)
        first = this_process.rank() == 0
        code = run_folder.report_stopped(stop, stage.folder, step) if first else 0
        raise SystemExit(code) from None
    except TrainingError as error:
        raise TrainingError(f"{error}; {run_folder.last_good(stage.folder)}") from None
    except RuntimeError as error:
        if stage.cfg.trainer.devices == 1 or "onnection" not in str(error):
            raise
        raise TrainingError(
            "another process of this run has ended, perhaps with a message above; the same command "
            "continues from the last scoring"
        ) from None


def machine(cfg: DictConfig) -> dict[str, Any]:
    """Device settings and precision of a Trainer. Raises ConfigError if the devices are missing.

    Each device has its own process; DDP keeps their weights equal.
    """
    choice = cfg.trainer
    if choice.accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("trainer.accelerator=gpu: torch finds no GPU; choose trainer=cpu")
    on_gpu = uses_gpu(cfg)
    _refuse_compile(choice.compile, on_gpu)
    if choice.devices > 1:
        _refuse_several(choice.devices, on_gpu)
        announce_ranks()
    return {
        "accelerator": choice.accelerator,
        "devices": choice.devices,
        "precision": precision_of(choice, on_gpu),
        "strategy": "ddp" if choice.devices > 1 else "auto",
        "use_distributed_sampler": False,  # our samplers assign each image to one process
        # Lightning's own requeueing saves in the middle of a step.
        "plugins": [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else [],
    }


def uses_gpu(cfg: DictConfig) -> bool:
    """Return True if the run computes on a CUDA GPU."""
    return cfg.trainer.accelerator != "cpu" and torch.cuda.is_available()


def scaled_float16(cfg: DictConfig, device: str = "cuda") -> MixedPrecision:
    """Return the precision of a training in float16, whose loss is scaled.

    A factor keeps the gradients in float16's range. If one of them overflows nevertheless, the
    factor is halved and the step skipped: it counts as a step, and the schedule goes on. After 2000
    steps without overflow, the factor is doubled. It is stored in every checkpoint.
    """
    warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step\\(\\)` before")
    first = first_factor(cfg.regime.loss.get("reduction"))
    return MixedPrecision("16-mixed", device, torch.amp.GradScaler(device, init_scale=first))


def speed_up(cfg: DictConfig, net: nn.Module) -> None:
    """Apply `trainer.compile` and `trainer.activation_checkpointing`; call once per net.

    Checkpoint names do not change. Compilation happens at the first forward pass.
    """
    if cfg.trainer.activation_checkpointing:
        recompute_blocks(net)
    if cfg.trainer.compile:
        net.compile(mode=None if cfg.trainer.compile is True else cfg.trainer.compile)


def _refuse_compile(choice: Any, on_gpu: bool) -> None:
    """Raise ConfigError if a net cannot be compiled with this option."""
    if choice == GRAPHS and not on_gpu:
        raise ConfigError(f"trainer.compile={GRAPHS}: CUDA graphs need a GPU; choose true or false")
    compilers = (os.environ.get("CXX", "g++"), "g++", "clang++")
    if choice and not any(map(shutil.which, compilers)):
        raise ConfigError(
            "trainer.compile=true: torch needs a C++ compiler, and none is installed; try apt-get "
            "install g++, or set trainer.compile=false"
        )


def _refuse_several(devices: int, on_gpu: bool) -> None:
    """Raise ConfigError if a run cannot have this number of processes."""
    given = f"trainer.devices={devices}"
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise ConfigError(
            f"{given}: in a sweep, each job must then be a separate process; add "
            "hydra/launcher=subprocess"
        )
    if on_gpu and devices > (found := torch.cuda.device_count()):
        raise ConfigError(
            f"{given}: torch finds {found} GPUs; choose them by CUDA_VISIBLE_DEVICES, in a sweep "
            "by hydra.launcher.gpus=['0,1'] with one entry per concurrent job"
        )


def set_up(cfg: DictConfig) -> None:
    """Set torch's number of threads and its float32 matrix precision, and keep freed memory.

    Several processes on a CPU divide the threads.
    """
    this_process.keep_freed_memory()
    torch.backends.cudnn.allow_tf32 = cfg.trainer.tf32
    torch.backends.cuda.matmul.allow_tf32 = cfg.trainer.tf32
    threads = cfg.trainer.threads
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # otherwise Lightning resets them
        torch.set_num_threads(threads)
    elif cfg.trainer.devices > 1 and not torch.distributed.is_initialized():
        torch.set_num_threads(max(1, torch.get_num_threads() // cfg.trainer.devices))


def quiet_lightning() -> None:
    """Silence Lightning's messages on devices and products; warnings stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Every process has, and logs, the scores of the complete validation set.
    warnings.filterwarnings("ignore", message=".*recommended to use `.*sync_dist=True.*")
