"""Nets and tasks rebuilt from checkpoints, which are untrusted files."""

from typing import TYPE_CHECKING, Any

import torch
from omegaconf import OmegaConf

from fcnexp.build import build_net
from fcnexp.config.checks import check_targets
from fcnexp.config.moved_parts import renamed
from fcnexp.config.trust import refuse_foreign_code
from fcnexp.errors import ConfigError, WeightsError
from fcnexp.nn.inputs import InputRecipe
from fcnexp.nn.streams import Network
from fcnexp.nn.weights.checkpoints import load_weights, refuse_other_net

if TYPE_CHECKING:  # Lightning
    from fcnexp.task.module import SegmentationTask


def net_of(stored: dict[str, Any], path: str) -> tuple[Network, InputRecipe]:
    """Return a checkpoint's net, in eval mode, and its input recipe. Raises WeightsError."""
    facts = stored["fcnexp"]
    facts["config"] = renamed(facts["config"])
    refuse_foreign_code(facts["config"], path)
    try:
        check_targets(facts["config"])
        net, recipe = _build(facts, stored, path)
    except WeightsError:
        raise
    except Exception as error:  # constructors raise any type on values they do not expect
        reason = (str(error).splitlines() or [""])[0]
        if not isinstance(error, ConfigError):
            reason = f"{type(error).__name__}: {reason}"
        raise WeightsError(f"{path}: cannot build the net of its config ({reason})") from error
    load_weights(net, stored, path)
    return net.eval(), recipe


def task_of(stored: dict[str, Any], path: str) -> "SegmentationTask":
    """Return a checkpoint's task, in eval mode, for scoring. Raises WeightsError."""
    from fcnexp.task.module import SegmentationTask

    net, recipe = net_of(stored, path)
    facts = stored["fcnexp"]
    names, outputs, masking = tuple(facts["class_names"]), facts["outputs"], facts["masking"]
    task = SegmentationTask(net, recipe, names, outputs=outputs, facts=facts, masking=masking)
    return task.eval()


def _build(facts: dict[str, Any], stored: dict[str, Any], path: str) -> tuple[Network, InputRecipe]:
    """Build the net of a stored config after checking that the stored weights fit it."""
    cfg = OmegaConf.create(facts["config"])
    with torch.device("meta"):  # a damaged size could need any amount of memory
        net, recipe = build_net(cfg, facts["outputs"])
    refuse_other_net(net, stored, path)
    if facts["recipe"] != recipe.facts():
        raise WeightsError(f"{path}: damaged, fcnexp.recipe does not match fcnexp.config")
    return build_net(cfg, facts["outputs"])
