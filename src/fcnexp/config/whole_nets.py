"""Whole nets have a backbone, head and upsampling of their own, which the config may not choose."""

from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from fcnexp.errors import ConfigError

NONE = {  # what the option `none` of each group holds
    "backbone": "fcnexp.nn.whole.parts.within_model",
    "head": "fcnexp.nn.whole.parts.within_model",
    "dense": "fcnexp.nn.whole.parts.AsScored",
}
LONE = "Expected more than 1 value per channel"  # torch's error about a batch normalisation
TYPE = "backbone=none head=none dense=none"
MODELS = "fcn_resnet50, deeplabv3_resnet50, lraspp_mobilenet_v3_large or smp"


def is_whole(cfg: DictConfig) -> bool:
    """Return True if the model is a whole net. Imports its class.

    Raises ConfigError if a whole net is given a backbone, head or dense part, or another none.
    """
    target = str(cfg.model._target_)
    whole = hasattr(get_object(target), "name_in_library")
    given = {group: _target(cfg, group) for group in NONE}
    others = [group for group, none in NONE.items() if given[group] != none]
    name = target.rpartition(".")[2]
    if whole and others:
        chosen = " and ".join(f"{g} ({given[g].rpartition('.')[2]})" for g in others)
        raise ConfigError(
            f"model ({name}): a whole net, which has a backbone, head and upsampling of its own "
            f"and takes no {chosen}; leave them out, or, if an experiment or scale=small chooses "
            f"them, add {TYPE}"
        )
    if not whole and len(others) < len(NONE):
        none = " ".join(f"{group}=none" for group in NONE if group not in others)
        raise ConfigError(
            f"{none}: only for whole nets, model={MODELS}, but the model is {name}; choose "
            "backbone=vgg16 head=fc dense=deconv_fixed, or others"
        )
    return whole


def refuse_lone_images(cfg: DictConfig, net: Any, inputs: dict[str, Any]) -> None:
    """Raise ConfigError if a whole net needs several images in a pass to train, but gets one.

    DeepLabV3 normalises a mean over the image, one value per channel, by the batch. net, inputs:
    on the meta device, of one image.
    """
    images = cfg.regime.batch_size // cfg.trainer.devices  # per pass and device; 0 if it is shared
    if images > 1 or not cfg.regime.steps or not is_whole(cfg):
        return
    modes = {module: module.training for module in net.modules()}
    try:
        net.train()(inputs)
    except ValueError as error:
        if LONE not in str(error):
            raise
        raise ConfigError(
            f"regime.batch_size={cfg.regime.batch_size}: this net normalises a mean over the image "
            "by the batch, which needs 2 images or more per pass and device; choose "
            "regime.batch_size=2 or more"
        ) from None
    finally:
        for module, mode in modes.items():
            module.training = mode


def _target(cfg: DictConfig, group: str) -> str:
    return str(OmegaConf.select(cfg, f"{group}._target_"))
