"""Where a net's first weights come from.

Each function fills a net and returns the layers that stay new: they were in no file, and a regime
may train them faster (`regime.new_lr`). An empty answer means that nothing sets layers apart.
"""

import logging
from pathlib import Path

import torch
from torch import nn

from fcnexp.errors import WeightsError
from fcnexp.nn.caffe import read_caffemodel
from fcnexp.nn.download import fetch
from fcnexp.nn.fcn import OneStream
from fcnexp.nn.inputs import RgbRecipe
from fcnexp.nn.surgery import load_blobs

log = logging.getLogger(__name__)

CHECKPOINT_VERSION = 1  # raise it when what checkpoints hold beside weights changes


def scratch(net: OneStream, recipe: RgbRecipe) -> list[nn.Module]:
    """Random weights: normal, of variance 2 / fan-in, biases zero; class scores start at zero.

    Source: He et al. 2015; sec. 4.2 for the zeros.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for layer in net.score_layers().values():
        nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
    return []


def caffemodel(net: OneStream, recipe: RgbRecipe, *, path: str, strict: bool) -> list[nn.Module]:
    """Weights of a `.caffemodel`, by layer name. Raises WeightsError naming file and layer."""
    scratch(net, recipe)
    if not net.net.scorer.backbone.layers():
        raise WeightsError(
            f"init=caffemodel: {type(net.net.scorer.backbone).__name__} has no Caffe original; "
            "choose backbone=vgg16, alexnet or googlenet, or init=scratch"
        )
    if recipe.order != "bgr":
        raise WeightsError(
            f"init.path={path}: Caffe's nets take BGR minus a mean, the modality gives "
            f"{recipe.order.upper()}; choose modality=rgb"
        )
    blobs = read_caffemodel(path)
    try:
        report = load_blobs(net, blobs, strict=strict)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    log.info("%s: %s", path, report.line())
    return list(report.new.values())


def imagenet(net: OneStream, recipe: RgbRecipe, *, folder: str) -> list[nn.Module]:
    """The backbone's published ImageNet weights, fetched once into a folder, digest checked.

    Raises WeightsError naming the file and where to put it, where it cannot be fetched.
    """
    backbone = net.net.scorer.backbone
    published = getattr(backbone, "imagenet", None)
    if published is None:
        raise WeightsError(
            f"init=imagenet: no weights of {type(backbone).__name__} are published; init=scratch"
        )
    from_caffe = published.file.endswith(".caffemodel")
    order, modality = ("bgr", "rgb") if from_caffe else ("rgb", "rgb_torchvision")
    if recipe.order != order:
        raise WeightsError(
            f"init=imagenet: {published.file} takes {order.upper()}, the modality gives "
            f"{recipe.order.upper()}; choose modality={modality}"
        )
    path = fetch(published, Path(folder).expanduser())
    if from_caffe:
        return caffemodel(net, recipe, path=str(path), strict=False)
    scratch(net, recipe)
    backbone.load_published(path)  # type: ignore[attr-defined]  # a ResNet: it has `imagenet`
    log.info("%s: copied all layers of the backbone", path)
    return list((net.net.scorer.head.layers() | net.score_layers()).values())


def checkpoint(net: OneStream, recipe: RgbRecipe, *, path: str) -> list[nn.Module]:
    """Weights of an earlier run of the same net. Raises WeightsError where it is another."""
    stored = read_checkpoint(path)
    if stored["fcnexp"]["recipe"] != recipe.facts():
        raise WeightsError(
            f"{path}: trained with the input recipe {stored['fcnexp']['recipe']}; this run's "
            f"modality is {recipe.facts()}"
        )
    load_weights(net, stored, path)
    return []


def read_checkpoint(path: str | Path) -> dict:
    """A run's checkpoint as plain values and tensors; it cannot run code.

    Raises WeightsError where it is missing, damaged or not one of ours.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsError(f"{path}: no such checkpoint; a run keeps its own in checkpoints/")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types on damaged files
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{path}: damaged, or not a checkpoint ({first})") from None
    if not isinstance(stored, dict) or "fcnexp" not in stored or "state_dict" not in stored:
        raise WeightsError(f"{path}: a torch file, but not a checkpoint of fcnexp")
    version = stored["fcnexp"].get("version")
    if version != CHECKPOINT_VERSION:
        raise WeightsError(
            f"{path}: checkpoint version {version}, this fcnexp reads {CHECKPOINT_VERSION}; "
            "use the fcnexp that wrote it"
        )
    return stored


def load_weights(net: nn.Module, stored: dict, path: str | Path) -> None:
    """Fill a net from a checkpoint. Raises WeightsError where a tensor does not fit."""
    weights = {
        name.removeprefix("net."): tensor
        for name, tensor in stored["state_dict"].items()
        if name.startswith("net.")
    }
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]]
        raise WeightsError(f"{path}: of another net; {' '.join(lines)}") from None
