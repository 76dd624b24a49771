"""Arguments of Lightning's Trainer: those that `+trainer.NAME=VALUE` passes on, and the others.

Others would break what a run promises: whole, exact scores; resuming to the bit; a record that
says how it was made. Imports neither torch nor Lightning; a test compares with the Trainer's own.
"""

import re
from collections.abc import Mapping
from typing import Any

from fcnexp.errors import ConfigError

# Change no number of a run: what is shown, measured or checked on the way.
FREE = (
    *("profiler", "detect_anomaly", "log_every_n_steps", "inference_mode"),
    *("enable_progress_bar", "enable_model_summary", "enable_autolog_hparams"),
)
PASSED = (
    *FREE,
    *("max_epochs", "limit_train_batches"),  # converted to steps, see `fcnexp.run.epochs`
    *("max_time", "min_steps", "strategy", "num_nodes", "sync_batchnorm", "benchmark"),
)
IN_STEPS = ("max_epochs", "limit_train_batches")
PROFILERS = ("simple", "advanced", "pytorch")
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")

_WHOLE = "the validation set is always scored whole, so that scores are comparable; a trial takes "
_WHOLE += "fewer images, such as data.num_val=8 of data=shapes, or a shorter list as data.val_split"
_SCORING = "regime.score_every is the number of steps between scorings"
REFUSED = {
    "max_steps": "regime.steps is the number of optimiser steps",
    "min_epochs": "a training is one endless epoch; +trainer.min_steps=N counts steps",
    **dict.fromkeys(("limit_val_batches", "limit_test_batches"), _WHOLE),
    "limit_predict_batches": "a training predicts nothing; python -m fcnexp.predict labels images",
    "overfit_batches": "it would score training images; to overfit, train on few, such as "
    "data.num_train=8 of data=shapes, or a short list as data.train_split, with augment=none",
    "fast_dev_run": "regime.steps=2 tries training and scoring, dry_run=true only builds the net",
    "num_sanity_val_steps": "a scoring before the first step would count as one; regime.steps=0 "
    "only scores, dry_run=true only builds the net",
    **dict.fromkeys(("val_check_interval", "check_val_every_n_epoch"), _SCORING),
    "accumulate_grad_batches": "regime.accumulate is the number of passes per step",
    "gradient_clip_val": "regime.clip is the largest norm of the gradients",
    "gradient_clip_algorithm": "regime.clip limits the joint norm of the gradients",
    "reload_dataloaders_every_n_epochs": "a training is one endless epoch of draws, numbered so "
    "that it resumes exactly",
    "use_distributed_sampler": "each image is already scored once, by one of the processes",
    "enable_checkpointing": "a run always writes checkpoints/last.ckpt, from which it resumes; "
    "keep_best=true also keeps the best",
    "plugins": "one of them writes checkpoints atomically; trainer.precision chooses the number "
    "format",
    "barebones": "it scores nothing and saves nothing; python -m fcnexp.bench measures speed",
    "default_root_dir": "hydra.run.dir is the folder",
    "logger": "logger=csv, wandb or tensorboard; another logger is +logger.others.NAME._target_="
    "CLASS",
    "callbacks": "callbacks=early_stopping, ema or timer; another callback is "
    "+callbacks.NAME._target_=CLASS",
    "model_registry": "checkpoints are in the run's folder",
    "tpu_cores": "fcnexp computes on CPUs and CUDA GPUs: trainer=cpu, trainer=gpu",
    "stochastic_weight_avg": "callbacks=ema averages the weights",
    "track_grad_norm": "regime.clip limits the norm of the gradients",
    "terminate_on_nan": "a loss that is not finite always stops a run",
    "resume_from_checkpoint": "the same command with its hydra.run.dir continues a run",
    "weights_summary": "a table of the parameters is always printed; python -m fcnexp.explain "
    "prints every map",
    **dict.fromkeys(("amp_backend", "amp_level"), "trainer.precision=bf16 or fp16 is torch's own"),
}


def check_arguments(choice: Mapping[str, Any]) -> None:
    """Raise ConfigError if an argument has a value that would break a promise, or means nothing.

    choice: the config's `trainer`.
    """
    given = {str(name): value for name, value in choice.items() if name in PASSED}
    for name in ("max_epochs", "min_steps", "log_every_n_steps", "num_nodes"):
        if name in given and not (type(given[name]) is int and given[name] >= 1):
            raise ConfigError(f"trainer.{name}={given[name]}: must be a whole number, 1 or more")
    if given.get("num_nodes", 1) > 1:
        raise ConfigError(
            f"trainer.num_nodes={given['num_nodes']}: the processes of a run share one machine, "
            "where the first one starts, ends and locks them; trainer.devices=N uses its GPUs, and "
            "a sweep uses many machines (hydra/launcher=submitit_slurm)"
        )
    time = given.get("max_time", "0:0:0:0")
    if not isinstance(time, Mapping) and not re.fullmatch(r"\d+(:\d+){3}", str(time)):
        raise ConfigError(
            f"trainer.max_time={time}: must be days:hours:minutes:seconds, such as 00:12:00:00"
        )
    _one_of("strategy", given, STRATEGIES, _SHARDED)
    _one_of("profiler", given, PROFILERS, "; it writes its table into the run's folder")
    if (limit := given.get("limit_train_batches")) is not None:
        if "max_epochs" not in given:
            raise ConfigError(
                f"trainer.limit_train_batches={limit}: shortens epochs, and this run counts steps; "
                f"add +trainer.max_epochs=N, or write regime.steps={limit if limit > 1 else 2}"
            )
        whole = type(limit) is int and limit >= 1
        if not whole and not (type(limit) is float and 0 < limit <= 1):
            raise ConfigError(
                f"trainer.limit_train_batches={limit}: must be a number of batches, such as 10, or "
                "a fraction of an epoch, such as 0.2"
            )


_SHARDED = (
    "; others would shard the weights, which checkpoints hold whole so that evaluate and predict "
    "read them, or share the memory of the counts. To save memory, see "
    "trainer.activation_checkpointing and trainer.precision=bf16"
)


def _one_of(name: str, given: Mapping[str, Any], allowed: tuple[str, ...], why: str) -> None:
    if name in given and given[name] not in allowed:
        words = ", ".join(allowed)
        raise ConfigError(f"trainer.{name}={given[name]}: allowed are {words}{why}")
