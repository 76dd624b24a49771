"""Staged training: FCN-32s, then FCN-16s from its weights, then FCN-8s, each a separate run."""

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from fcnexp.errors import ConfigError
from fcnexp.system.checkpoint_store import LAST


class Stage(NamedTuple):
    """One training. folder: of its record; the last stage uses the run's folder."""

    name: str
    cfg: DictConfig
    folder: Path


def is_staged(cfg: DictConfig) -> bool:
    """Return True if the config trains coarser nets first."""
    return str(cfg.init.get("_target_", "")).endswith(".init.staged")


def stages(cfg: DictConfig, folder: Path) -> list[Stage]:
    """List the trainings of a config in order; only one if it is not staged.

    A stage starts from the weights of the one before, whose net has one skip less; `init.first`
    initialises the first. Source: sec. 4.2; transplants of voc-fcn16s and voc-fcn8s. Raises
    ConfigError.
    """
    if not is_staged(cfg):
        return [Stage("whole", cfg, folder)]
    if "skips" not in cfg.model:
        raise ConfigError(
            "init=staged trains nets with fewer skips first, but this model has no skips; choose "
            "one with skips, such as model=fcn8s, or init=imagenet or init=scratch"
        )
    if not cfg.regime.steps:
        raise ConfigError(
            "init=staged trains, but regime.steps=0 only scores; train, for example with "
            "regime.steps=1000, or give a trained net: init=checkpoint init.path=FILE"
        )
    steps, depth = cfg.init.steps, len(cfg.model.skips)
    factors = _factors(cfg.init.lr, depth)
    if steps is not None and (not isinstance(steps, int) or steps < 1):
        raise ConfigError(f"init.steps={steps}: must be 1 or more; null takes the last stage's")
    found: list[Stage] = []
    for skips in range(depth + 1):
        stage = copy.deepcopy(cfg)
        stage.model.skips = list(cfg.model.skips)[:skips]
        stage.model.scales = list(cfg.model.scales)[:skips]
        if skips < depth:
            stage.regime.lr = cfg.regime.lr * math.prod(factors[skips:])
            stage.regime.steps = cfg.regime.steps if steps is None else steps
            stage.paper = None
        if found:
            path = str(found[-1].folder / "checkpoints" / LAST)
            target = "fcnexp.nn.weights.init.checkpoint"
            stage.init = {"_target_": target, "_partial_": True, "path": path}
        else:
            stage.init = cfg.init.first
        finest = min([stage.model.get("deepest") or 32, *stage.model.skips])  # stride, in pixels
        name = f"fcn{finest}s"
        found.append(Stage(name, stage, folder / "stages" / name if skips < depth else folder))
    return found


def _factors(given: Any, depth: int) -> list[float]:
    """Learning rate of each stage except the last, relative to the next stage's; coarsest first."""
    factors = list(given) if isinstance(given, Sequence) else [given] * depth
    if not all(isinstance(f, int | float) and f > 0 for f in factors) or isinstance(given, str):
        raise ConfigError(
            f"init.lr={given}: must be above 0, the learning rate of a stage relative to the next"
        )
    if len(factors) != depth:
        raise ConfigError(
            f"init.lr={given}: must be one number, or one for each of the first {depth} stages"
        )
    return factors
