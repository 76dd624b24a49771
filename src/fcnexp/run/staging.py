"""Training a net by stages: FCN-32s, then FCN-16s from it, then FCN-8s, each a run of its own."""

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from fcnexp.errors import ConfigError
from fcnexp.system.checkpoint_store import LAST


class Stage(NamedTuple):
    """One training. folder: where its record goes; the last stage has the run's own."""

    name: str
    cfg: DictConfig
    folder: Path


def is_staged(cfg: DictConfig) -> bool:
    """Whether the config asks for coarser nets to be trained first."""
    return str(cfg.init.get("_target_", "")).endswith(".init.staged")


def stages(cfg: DictConfig, folder: Path) -> list[Stage]:
    """The trainings that a config stands for, in order; just itself where it is not staged.

    A stage starts from the one before, whose net lacks its last skip; `init.first` fills the
    first. Source: sec. 4.2; transplants of voc-fcn16s and voc-fcn8s. Raises ConfigError.
    """
    if not is_staged(cfg):
        return [Stage("whole", cfg, folder)]
    if "skips" not in cfg.model:
        raise ConfigError(
            "init=staged trains nets with fewer skips first, and this model has none to leave out; "
            "choose a model that fuses, such as model=fcn8s, or init=imagenet or init=scratch"
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
            target = {
                "_target_": "fcnexp.nn.weights.init.checkpoint",
                "_partial_": True,
                "path": path,
            }
        else:
            target = cfg.init.first
        stage.init = target
        name = f"fcn{_stride(stage)}s"
        found.append(Stage(name, stage, folder / "stages" / name if skips < depth else folder))
    return found


def _factors(given: Any, depth: int) -> list[float]:
    """How many times as fast each but the last stage learns as its next, coarsest first."""
    factors = list(given) if isinstance(given, Sequence) else [given] * depth
    if not all(isinstance(f, int | float) and f > 0 for f in factors) or isinstance(given, str):
        raise ConfigError(f"init.lr={given}: how many times as fast, numbers above 0")
    if len(factors) != depth:
        raise ConfigError(f"init.lr={given}: one number, or one for each of the {depth} first nets")
    return factors


def _stride(cfg: DictConfig) -> int:
    """What the stage is called after: the finest tap that is fused."""
    return min([cfg.model.get("deepest") or 32, *cfg.model.skips])
