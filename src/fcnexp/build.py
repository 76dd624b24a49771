"""From a config to the objects it names. Wires between config groups are tied here, in Python."""

import functools
import logging
from collections.abc import Sequence
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from fcnexp import trainers
from fcnexp.config import check, compose_run, refuse_foreign_code
from fcnexp.data.datamodule import SegmentationData
from fcnexp.data.splits import DataSet
from fcnexp.errors import ConfigError
from fcnexp.nn.dense import EDGES, FixedUpsampling
from fcnexp.nn.fcn import FCN, OneStream
from fcnexp.nn.init import CHECKPOINT_VERSION, load_weights
from fcnexp.nn.inputs import RgbRecipe
from fcnexp.task.module import SegmentationTask
from fcnexp.task.optim import parameter_groups

log = logging.getLogger(__name__)

NET_PARTS = ("modality", "backbone", "head", "model", "dense")  # what a checkpoint must remember


def refuse_other_classes(known: Sequence[str], asked: Sequence[str], path: str) -> None:
    """Raise ConfigError where a checkpoint's classes are not the data set's."""
    if list(known) != list(asked):
        raise ConfigError(
            f"{path}: trained on {len(known)} classes ({', '.join(known[:4])} ...), the data set "
            f"has {len(asked)} ({', '.join(asked[:4])} ...); choose data with the same classes"
        )


def refuse_missing_field(data: DataSet, recipe: RgbRecipe) -> None:
    """Raise ConfigError where the data set lacks what the modality takes in."""
    if recipe.field not in data.provides:
        raise ConfigError(
            f"modality takes {recipe.field}, but the data set provides {', '.join(data.provides)}"
        )


def network(overrides: list[str]) -> OneStream:
    """A net ready on the CPU, in eval mode, as `train` would build it with these overrides.

    Its forward takes inputs in network space by field, e.g. {"rgb": (N, 3, H, W) BGR minus mean},
    and returns scores (N, K, H, W). No data set is opened.
    Raises ConfigError, WeightsError, or Hydra's errors.
    """
    cfg = compose_run(overrides)
    cfg = check(cfg)
    net, _ = build_net(cfg, len(part(cfg, "data").class_names))
    first_weights(cfg, net)
    return net.eval()


def part(cfg: DictConfig, name: str, *wires: Any, **settings: Any) -> Any:
    """What one node of the config names by its `_target_`, called with the wires, if there are any.

    settings: replace values of the node. Raises ConfigError where the part refuses its values.
    """
    try:
        made = instantiate(OmegaConf.select(cfg, name), _convert_="all", **settings)
        return made(*wires) if wires else made
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
    backbone = part(cfg, "backbone", recipe.channels)
    missing = [stride for stride in cfg.model.skips if stride not in backbone.taps]
    if missing:
        raise ConfigError(
            f"model.skips={list(cfg.model.skips)}: this backbone has no tap of stride "
            f"{missing[0]}; it has {', '.join(str(stride) for stride in backbone.taps)}: choose "
            "another model or backbone"
        )
    halves = [max(backbone.taps) // 2**i for i in range(1, len(cfg.model.skips) + 1)]
    if list(cfg.model.skips) != halves:
        raise ConfigError(
            f"model.skips={list(cfg.model.skips)}: each fusion doubles the map, so that they go "
            f"{halves}"
        )
    edges = cfg.dense.edges or ("zeros" if backbone.pads_image else "repeat")
    if edges not in EDGES:
        raise ConfigError(f"dense.edges={edges}: allowed are null, {' and '.join(EDGES)}")
    upsampling = functools.partial(FixedUpsampling, edges=edges)
    head = part(cfg, "head", backbone, num_classes)
    scorer = part(cfg, "model", backbone, head, num_classes, upsampling)
    dense = part(cfg, "dense", num_classes, scorer.grid, edges=edges)
    net = OneStream(FCN(scorer, dense), recipe.field)
    return net.to(memory_format=torch.channels_last), recipe


def first_weights(cfg: DictConfig, net: OneStream) -> list[nn.Module]:
    """Fill the net as `init` says; returns the layers that stay new. Raises WeightsError."""
    return part(cfg, "init", net, part(cfg, "modality"))


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
    """The task with its net, weights filled in, and all that training needs.

    Raises ConfigError or WeightsError.
    """
    net, recipe = build_net(cfg, len(data.class_names))
    refuse_missing_field(data, recipe)
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
        "version": CHECKPOINT_VERSION,
        "config": {name: plain[name] for name in (*NET_PARTS, "data")},
        "recipe": recipe.facts(),
        "precision": trainers.machine(cfg)["precision"],
        "class_names": list(class_names),
    }


def task_from_checkpoint(stored: dict[str, Any], path: str) -> SegmentationTask:
    """The task of a checkpoint, for scoring and prediction. Raises WeightsError."""
    facts = stored["fcnexp"]
    refuse_foreign_code(facts["config"], path)
    net, recipe = build_net(OmegaConf.create(facts["config"]), len(facts["class_names"]))
    load_weights(net, stored, path)
    return SegmentationTask(net, recipe, tuple(facts["class_names"]), facts=facts).eval()


def dry_run(cfg: DictConfig) -> None:
    """Build the net without memory for weights and run shapes through it.

    Raises ConfigError where the parts do not go together.
    """
    data = part(cfg, "data")
    names = data.class_names
    refuse_missing_field(data, part(cfg, "modality"))
    for name in ("augment", "regime.loss", "regime.optimizer", "regime.schedule"):
        part(cfg, name)
    trainers.machine(cfg)
    with torch.device("meta"):
        net, recipe = build_net(cfg, len(names))
        net.eval()({recipe.field: torch.zeros(1, recipe.channels, 65, 97)})
    count = sum(parameter.numel() for parameter in net.parameters())
    log.info("config is fine: a net of %s parameters, %d classes", f"{count:,}", len(names))
