"""Initial weights of a net: random, from a file, or from an earlier run.

Each function fills a net and returns its new parameters, those that no file provided, which a
regime may train faster (`regime.new_lr`). An empty list means that none are treated differently.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from fcnexp.errors import WeightsError
from fcnexp.nn.backbones.base import PublishedWeights
from fcnexp.nn.fcn import FCN
from fcnexp.nn.inputs import InputRecipe
from fcnexp.nn.streams import Network
from fcnexp.nn.weights import other_programs
from fcnexp.nn.weights.band_filters import give_colours
from fcnexp.nn.weights.caffe import read_caffemodel
from fcnexp.nn.weights.checkpoints import (
    is_ours,
    load_weights,
    parent_weights,
    read_checkpoint,
    weights_of,
    with_weights,
)
from fcnexp.nn.weights.class_rows import by_name, same_places
from fcnexp.nn.weights.download import fetch
from fcnexp.nn.weights.surgery import Transplant, load_blobs

log = logging.getLogger(__name__)

SCORES = ("zeros", "xavier")


def scratch(net: Network, recipe: InputRecipe) -> list[Tensor]:
    """Random weights: normal with variance 2 / fan-in, zero biases and zero score layers.

    Source: He et al. 2015; sec. 4.2 for the score layers.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for layer in net.score_layers():
        nn.init.zeros_(layer.weight)  # type: ignore[arg-type]  # a convolution
    return []


def caffemodel(net: Network, recipe: InputRecipe, *, path: str, strict: bool) -> list[Tensor]:
    """Load a `.caffemodel` by layer name. Raises WeightsError naming the file and layer."""
    scratch(net, recipe)
    backbone = next(iter(net.scorers().values())).backbone
    if not backbone.layers():
        raise WeightsError(
            f"init=caffemodel: {type(backbone).__name__} has no Caffe original; "
            "choose backbone=vgg16, alexnet or googlenet, or init=scratch"
        )
    if recipe.colour_order == "rgb":
        raise WeightsError(
            f"init.path={path}: Caffe's nets take BGR minus a mean, but the modality gives RGB; "
            f"choose modality={'bands' if recipe.bands else 'rgb'}"
        )
    report = transplant(net, path, strict=strict)
    give_colours(net, recipe)
    return [tensor for tensors in report.new.values() for tensor in tensors]


def imagenet(net: Network, recipe: InputRecipe, *, folder: str, scores: str) -> list[Tensor]:
    """Load the backbone's published ImageNet weights into every stream.

    The file is downloaded once into `folder` and its digest checked. scores: initial score layers,
    `zeros` (the papers) or `xavier` (the D2L exercise).
    Raises WeightsError, naming the file and where to put it, if the download fails.
    """
    if scores not in SCORES:
        raise ValueError(f"scores={scores}: allowed are {' and '.join(SCORES)}")
    backbones = [scorer.backbone for scorer in net.scorers().values()]
    published = getattr(backbones[0], "imagenet", None)
    if published is None:
        name = type(backbones[0]).__name__
        raise WeightsError(f"init=imagenet: {name} has no published weights; use init=scratch")
    from_caffe = published.file.endswith(".caffemodel")
    modality = "rgb" if from_caffe else getattr(backbones[0], "modality", "rgb_torchvision")
    order = "bgr" if from_caffe else "rgb"
    if recipe.bands is not None:
        modality = "bands" if from_caffe else "bands_torchvision"
    if recipe.colour_order not in (order, None):
        raise WeightsError(
            f"init=imagenet: {published.file} takes {order.upper()}, but the modality gives "
            f"{recipe.colour_order.upper()}; choose modality={modality}"
        )
    path = Path(folder).expanduser()
    if isinstance(published, PublishedWeights):  # timm fetches its own, into this folder
        path = fetch(published, path)
    if from_caffe:
        new = caffemodel(net, recipe, path=str(path), strict=False)
    else:
        scratch(net, recipe)
        for backbone in backbones:
            backbone.load_published(path)  # type: ignore[attr-defined]  # a ResNet
        give_colours(net, recipe)
        heads = [scorer.head for scorer in net.scorers().values()]
        layers = [layer for head in heads for layer in head.layers().values()]
        layers = list(dict.fromkeys([*layers, *net.score_layers(), net.net.dense]))
        new = [parameter for layer in layers for parameter in layer.parameters()]
        log.info("%s: copied all layers of the backbone", path)
    if scores == "xavier":
        for layer in net.score_layers():
            nn.init.xavier_uniform_(layer.weight)  # type: ignore[arg-type]  # a convolution
    return new


def checkpoint(
    net: Network, recipe: InputRecipe, *, path: str, class_names: Sequence[str] | None = None
) -> list[Tensor]:
    """Load an earlier run's checkpoint of the same net, or of its parent with fewer skips.

    The parent of FCN-16s is FCN-32s, that of FCN-8s is FCN-16s; the new skip's score layer starts
    at zero, so training begins with the parent's scores. Of a net with other classes everything but
    the scores is copied, and those of the classes with a namesake, see `class_rows`. class_names:
    of this net; None if they are the checkpoint's. Files of pytorch-fcn and torchvision are read,
    too. Raises WeightsError if the checkpoint is from a different net or was trained with a
    different input recipe.
    """
    stored = read_checkpoint(path, others=True)
    if not is_ours(stored):
        scratch(net, recipe)
        others = other_programs.load(net, recipe, stored, path)
        give_colours(net, recipe)
        return others
    if stored["fcnexp"]["recipe"] != recipe.facts():
        raise WeightsError(
            f"{path}: trained with the input recipe {stored['fcnexp']['recipe']}, but this run's "
            f"modality is {recipe.facts()}; choose the checkpoint's modality"
        )
    scratch(net, recipe)
    known, fresh = stored["fcnexp"]["class_names"], set[str]()
    if class_names is not None and not same_places(known, class_names):
        found = by_name(net, weights_of(stored), known, class_names)
        log.info(
            "%s: trained on %d classes, not on these %d; scores copied by name: %s; new: %s",
            *(path, len(known), len(class_names)),
            *(", ".join(names) or "none" for names in (found.shared, found.added)),
        )
        stored, fresh = with_weights(stored, found.weights), found.new
    new = parent_weights(net, stored, path)
    new |= {name: value for name, value in net.named_parameters() if name in fresh}
    if new:
        log.info("%s: copied all other layers; new: %s", path, ", ".join(new))
    return list(new.values())


def refuse_untrained_scores(net: Network, new: list[Tensor], path: str | None) -> None:
    """Raise WeightsError if score layers were not trained: they are new, or all their weights 0.

    new: parameters that no file provided. path: of the file, for the message.
    """
    fresh = {id(tensor) for tensor in new}
    names = [
        name
        for scorer in net.scorers().values()
        for name, layer in scorer.score_layers().items()
        if id(layer.weight) in fresh or not layer.weight.any()  # type: ignore[operator]  # a Tensor
    ]
    if names:
        raise WeightsError(
            f"regime.steps=0 only scores, but {path or 'init'} has no trained weights for "
            f"{', '.join(dict.fromkeys(names))}: the scores would mean nothing; train, for example "
            "with regime.steps=1000, or give a trained net: init=checkpoint init.path=FILE, or a "
            "released one: init=caffemodel init.path=fcn8s-heavy-pascal.caffemodel"
        )


def staged(
    net: Network, recipe: InputRecipe, *, first: object, lr: float | list[float], steps: int | None
) -> list[Tensor]:
    """Raise WeightsError: only `train` can train the parents first; see `run.staging.stages`.

    first: init of the coarsest net. lr: learning rate of each stage relative to the next one, or a
    list with one such number for each stage but the last. steps: of each parent; null for as many
    as the last stage has.
    """
    raise WeightsError(
        "init=staged trains coarser nets first, which only fcnexp.train does; use init=scratch, "
        "or init=checkpoint init.path=FILE"
    )


def streams(
    net: Network, recipe: InputRecipe, *, rgb: str | None, depth: str | None, hha: str | None
) -> list[Tensor]:
    """Load each stream's weights from a separate run's checkpoint or from a `.caffemodel`.

    rgb, depth, hha: file for the stream of this field. Source: transplant of
    nyud-fcn32s-color-hha. Raises WeightsError if a file is missing or does not fit.
    """
    scratch(net, recipe)
    files = {"rgb": rgb, "depth": depth, "hha": hha}
    scorers = net.scorers()
    if len(scorers) < 2:
        raise WeightsError("init=streams: this modality has one stream; choose modality=rgb_hha")
    for field in scorers:
        path = files[field]
        if path is None:
            raise WeightsError(f"init.{field}: required, but not given; add init.{field}=FILE")
        alone = Network(FCN(scorers[field], net.net.dense), ((field,),), net.outputs)
        if path.endswith(".caffemodel"):
            transplant(alone, path, strict=True)
            continue
        stored = read_checkpoint(path)
        trained = stored["fcnexp"]["recipe"]["fields"]
        mine = recipe.facts()["fields"][field]  # type: ignore[index]  # one of plain values
        if trained != {field: mine}:
            raise WeightsError(
                f"init.{field}={path}: trained on {trained}, but this stream takes {mine}"
            )
        load_weights(alone, stored, path)
        log.info("%s: copied into the %s stream", path, field)
    return []


def transplant(net: Network, path: str, *, strict: bool) -> Transplant:
    """Copy a `.caffemodel` into a net and log a report. Raises WeightsError naming the file."""
    blobs = read_caffemodel(path)
    try:
        report = load_blobs(net, blobs, strict=strict)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    log.info("%s: %s", path, report.line())
    return report
