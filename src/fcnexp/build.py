"""From a config to the objects it names. Wires between config groups are tied here, in Python."""

import functools
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from lightning.pytorch.loggers import CSVLogger, Logger
from omegaconf import DictConfig, OmegaConf
from torch import nn

from fcnexp.config import check, compose_run
from fcnexp.data.datamodule import SegmentationData
from fcnexp.data.sample import Sample
from fcnexp.data.splits import DataSet
from fcnexp.errors import ConfigError
from fcnexp.nn.dense import EDGES, FixedUpsampling
from fcnexp.nn.fcn import FCN, OneStream
from fcnexp.nn.init import load_weights
from fcnexp.nn.inputs import RgbRecipe
from fcnexp.reporting.pictures import write_panels
from fcnexp.task.callbacks import on_terminal, progress_bars, training_callbacks
from fcnexp.task.module import SegmentationTask
from fcnexp.task.optim import parameter_groups

log = logging.getLogger(__name__)

ACCELERATORS = ("auto", "cpu", "gpu")
# No float16: a loss summed over pixels overflows it.
PRECISIONS = ("auto", "32-true", "bf16-mixed", "64-true")
NET_PARTS = ("modality", "backbone", "head", "model", "dense")  # what a checkpoint must remember


def refuse_other_classes(known: Sequence[str], asked: Sequence[str], path: str) -> None:
    """Raise ConfigError where a checkpoint's classes are not the data set's."""
    if list(known) != list(asked):
        raise ConfigError(
            f"{path}: trained on {len(known)} classes ({', '.join(known[:4])} ...), the data set "
            f"has {len(asked)} ({', '.join(asked[:4])} ...); choose data with the same classes"
        )


def network(overrides: list[str]) -> OneStream:
    """A net ready on the CPU, in eval mode, as `train` would build it with these overrides.

    Its forward takes inputs in network space by field, e.g. {"rgb": (N, 3, H, W) BGR minus mean},
    and returns scores (N, K, H, W). No data set is opened.
    Raises ConfigError, WeightsError, or Hydra's errors.
    """
    cfg = compose_run(overrides)
    check(cfg)
    net, _ = build_net(cfg, len(part(cfg, "data").class_names))
    first_weights(cfg, net)
    return net.eval()


def part(cfg: DictConfig, name: str, **wires: Any) -> Any:
    """The object, or the factory, that one node of the config names by its `_target_`.

    Raises ConfigError where the part refuses its values.
    """
    try:
        return instantiate(OmegaConf.select(cfg, name), _convert_="all", **wires)
    except Exception as error:  # Hydra wraps whatever the constructor raised
        cause = error.__cause__ or error
        if isinstance(cause, ValueError | TypeError):
            raise ConfigError(f"{name}: {cause}") from None
        raise


def build_net(cfg: DictConfig, num_classes: int) -> tuple[OneStream, RgbRecipe]:
    """The net with whatever weights torch gives it, and its input recipe.

    Raises ConfigError where the parts do not go together.
    """
    recipe = part(cfg, "modality")
    backbone = part(cfg, "backbone")(recipe.channels)
    missing = [stride for stride in cfg.model.skips if stride not in backbone.taps]
    if missing:
        raise ConfigError(
            f"model.skips={list(cfg.model.skips)}: this backbone has no tap of stride "
            f"{missing[0]}; it has {', '.join(str(stride) for stride in backbone.taps)}: choose "
            "another model or backbone"
        )
    edges = cfg.dense.edges or ("zeros" if backbone.pads_image else "repeat")
    if edges not in EDGES:
        raise ConfigError(f"dense.edges={edges}: allowed are null, {' and '.join(EDGES)}")
    upsampling = functools.partial(FixedUpsampling, edges=edges)
    head = part(cfg, "head")(backbone, num_classes)
    scorer = part(cfg, "model")(backbone, head, num_classes, upsampling)
    dense = part(cfg, "dense", edges=edges)(num_classes, scorer.grid)
    net = OneStream(FCN(scorer, dense), recipe.field)
    return net.to(memory_format=torch.channels_last), recipe


def first_weights(cfg: DictConfig, net: OneStream) -> list[nn.Module]:
    """Fill the net as `init` says; returns the layers that stay new. Raises WeightsError."""
    return part(cfg, "init")(net, part(cfg, "modality"))


def build_data(cfg: DictConfig) -> SegmentationData:
    """The DataModule of a run; no file is opened yet."""
    return SegmentationData(
        part(cfg, "data"),
        part(cfg, "augment"),
        batch_size=cfg.regime.batch_size,
        num_workers=cfg.workers,
        seed=cfg.seed,
    )


def build_task(cfg: DictConfig, data: DataSet) -> SegmentationTask:
    """The task with its net, weights filled in, and all that training needs."""
    net, recipe = build_net(cfg, len(data.class_names))
    regime = cfg.regime
    groups = parameter_groups(
        net,
        first_weights(cfg, net),
        lr=regime.lr,
        weight_decay=regime.weight_decay,
        bias_lr=regime.bias_lr,
        new_lr=regime.new_lr,
    )
    return SegmentationTask(
        net,
        recipe,
        data.class_names,
        loss=part(cfg, "regime.loss"),
        groups=groups,
        optimizer=part(cfg, "regime.optimizer"),
        schedule=part(cfg, "regime.schedule"),
        facts=net_facts(cfg, recipe, data.class_names),
    )


def net_facts(cfg: DictConfig, recipe: RgbRecipe, class_names: tuple[str, ...]) -> dict[str, Any]:
    """What a checkpoint remembers beside weights, as plain values that load without pickle."""
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    return {
        "version": 1,
        "config": {name: plain[name] for name in (*NET_PARTS, "data")},
        "recipe": recipe.facts(),
        "class_names": list(class_names),
    }


def task_from_checkpoint(stored: dict[str, Any], path: str) -> SegmentationTask:
    """The task of a checkpoint, for scoring and prediction. Raises WeightsError."""
    facts = stored["fcnexp"]
    net, recipe = build_net(OmegaConf.create(facts["config"]), len(facts["class_names"]))
    load_weights(net, stored, path)
    return SegmentationTask(net, recipe, tuple(facts["class_names"]), facts=facts).eval()


def build_loggers(cfg: DictConfig, folder: Path) -> list[Logger]:
    """metrics.csv in the run folder, and W&B where `logger` asks for it."""
    loggers: list[Logger] = [CSVLogger(folder, name="", version="")]
    if cfg.logger.wandb is not None:
        import wandb  # slow to import
        from lightning.pytorch.loggers import WandbLogger

        folder.mkdir(parents=True, exist_ok=True)  # where it is missing, W&B writes elsewhere
        run = wandb.init(
            **cfg.logger.wandb,
            dir=folder,
            name=folder.name,
            config=OmegaConf.to_container(cfg, resolve=True),  # type: ignore[arg-type]
        )
        loggers.append(WandbLogger(experiment=run))
    return loggers


def build_trainer(cfg: DictConfig, folder: Path) -> L.Trainer:
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
        log_every_n_steps=10,
        logger=build_loggers(cfg, folder),
        enable_progress_bar=on_terminal(),
        callbacks=[*training_callbacks(folder), *progress_bars()],
        enable_model_summary=False,
    )


def build_scorer(cfg: DictConfig) -> L.Trainer:
    """A Trainer that only scores, and writes nothing."""
    quiet_lightning()
    return L.Trainer(
        **machine(cfg),
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=on_terminal(),
        callbacks=progress_bars(),
    )


def quiet_lightning() -> None:
    """Keep Lightning's notes on devices and products from the terminal; warnings stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def machine(cfg: DictConfig) -> dict[str, Any]:
    """Device and number format for a Trainer. Raises ConfigError where there is no such device."""
    choice = cfg.trainer
    for key, allowed in (("accelerator", ACCELERATORS), ("precision", PRECISIONS)):
        if choice[key] not in allowed:
            raise ConfigError(f"trainer.{key}={choice[key]}: allowed are {', '.join(allowed)}")
    if choice.accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("trainer.accelerator=gpu: torch sees no GPU here; choose trainer=cpu")
    on_gpu = choice.accelerator == "gpu" or (
        choice.accelerator == "auto" and torch.cuda.is_available()
    )
    precision = choice.precision
    if precision == "auto":
        precision = "bf16-mixed" if multiplies_bfloat16(on_gpu) else "32-true"
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


def dry_run(cfg: DictConfig) -> None:
    """Build the net without memory for weights and run shapes through it.

    Raises ConfigError where the parts do not go together.
    """
    names = part(cfg, "data").class_names
    for name in ("augment", "regime.loss", "regime.optimizer", "regime.schedule"):
        part(cfg, name)
    machine(cfg)
    with torch.device("meta"):
        net, recipe = build_net(cfg, len(names))
        net.eval()({recipe.field: torch.zeros(1, recipe.channels, 65, 97)})
    count = sum(parameter.numel() for parameter in net.parameters())
    log.info("config is fine: a net of %s parameters, %d classes", f"{count:,}", len(names))


def close_loggers() -> None:
    """End the W&B run, if any, so that the next job of a sweep starts its own."""
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish()


def draw_predictions(
    task: SegmentationTask, samples: Sequence[Sample], count: int, folder: Path
) -> None:
    """Write pictures of some predictions, spread evenly over the samples."""
    chosen = sorted({round(i * (len(samples) - 1) / max(1, count - 1)) for i in range(count)})
    task.eval()
    drawn = []
    for index in chosen:
        sample = samples[index]
        prediction, _ = task.label_image(sample.fields["rgb"])
        rgb = sample.fields["rgb"].permute(1, 2, 0).numpy()
        assert sample.label is not None
        drawn.append((sample.name, rgb, sample.label.numpy(), prediction.numpy()))
    if drawn:
        write_panels(folder, drawn)
