"""Weights that other programs trained, by their names and shapes: pytorch-fcn, torchvision."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fcnexp.errors import WeightsError
from fcnexp.nn.backbones.vgg import VGG16
from fcnexp.nn.inputs import InputRecipe
from fcnexp.nn.layers import widen
from fcnexp.nn.streams import Network
from fcnexp.nn.weights import state_dicts, whole_nets
from fcnexp.nn.weights.caffe_names import constants
from fcnexp.nn.weights.state_dicts import MODELS, PYTORCH_FCN, RESNET, SKIPS, TRUNK, VGG, Kind
from fcnexp.nn.weights.surgery import Transplant, load_blobs
from fcnexp.nn.whole.parts import WholeNet

log = logging.getLogger(__name__)

COUNTED = "num_batches_tracked"  # of a batch normalisation; only its own training uses it


def load(net: Network, recipe: InputRecipe, stored: Mapping[str, Any], path: str) -> list[Tensor]:
    """Fill a net from what another program stored, log a report, return the parameters still new.

    Raises WeightsError, naming the kind of file and what reads it, if it does not fit.
    """
    weights = state_dicts.weights_in(stored)
    if not weights:
        what = state_dicts.what_it_is(stored)
        raise WeightsError(f"{path}: a torch file, but not a checkpoint of fcnexp: {what}")
    kind = state_dicts.kind_of(weights, stored)
    if kind.form is None:
        raise WeightsError(f"{path}: {kind.name}; {kind.reader}")
    if any(isinstance(scorer, WholeNet) for scorer in net.scorers().values()):
        _refuse_other_colours(kind._replace(form=RESNET), recipe, path)
        return whole_nets.load(net, weights, kind.name, path)
    backbone = next(iter(net.scorers().values())).backbone
    if kind.form in (PYTORCH_FCN, VGG) and not isinstance(backbone, VGG16):
        named = type(backbone).__name__
        raise WeightsError(f"{path}: {kind.name}, but the backbone is {named}; {kind.reader}")
    _refuse_other_colours(kind, recipe, path)
    weights = {n: v for n, v in weights.items() if not n.endswith(COUNTED)}
    try:
        if kind.form == PYTORCH_FCN:
            report = _pytorch_fcn(net, weights, stored)
        elif kind.form == VGG:
            report = _vgg(net, weights, kind)
        else:
            report = _trunks(net, weights)
    except WeightsError as error:
        known = "" if kind.form != TRUNK else "a torch file, but not a checkpoint of fcnexp: "
        raise WeightsError(f"{path}: {known}{kind.name}: {error}; {kind.reader}") from None
    log.info("%s: %s: %s", path, kind.name, report.line())
    if kind.name.endswith("FCN8s") and "arch" not in stored:
        read_as = "fcn8s_atonce" if "scale_pool4" in report.checked else "fcn8s"
        log.info("FCN8s and FCN8sAtOnce have the same layers; it was read as model=%s", read_as)
    return [tensor for tensors in report.new.values() for tensor in tensors]


def _refuse_other_colours(kind: Kind, recipe: InputRecipe, path: str) -> None:
    """Raise WeightsError if the net's input has another order of colours than the file's net."""
    trained = "bgr" if kind.form == PYTORCH_FCN else "rgb" if kind.form in (VGG, RESNET) else None
    if trained is None or recipe.colour_order in (trained, None):
        return
    modality = "rgb" if trained == "bgr" else "rgb_torchvision"
    if recipe.bands is not None:
        modality = modality.replace("rgb", "bands", 1)
    caffe = (
        "; pytorch-fcn's vgg16_from_caffe.pth has the same layer names, but takes BGR: instead of "
        "it, give the .caffemodel to init=caffemodel"
    )
    raise WeightsError(
        f"{path}: {kind.name} takes {trained.upper()}, but the modality gives "
        f"{str(recipe.colour_order).upper()}; choose modality={modality}"
        f"{caffe if kind.form == VGG else ''}"
    )


def _pytorch_fcn(net: Network, weights: dict[str, Tensor], stored: Mapping[str, Any]) -> Transplant:
    """Load one of pytorch-fcn's nets, whose layers have the original names.

    A net with more skips than the file's keeps their score layers new. The constants on the taps of
    FCN8sAtOnce are in its code, so they are added here.
    """
    arch = state_dicts.arch_of(weights, stored)
    scorer = next(iter(net.scorers().values()))
    scaled = bool(scorer.scales())
    more = len(scorer.skips) - SKIPS[arch]
    wrong_scale = stored.get("arch") == arch and scaled != (arch == "FCN8sAtOnce") and not more
    if more < 0 or wrong_scale or scorer.head.layers().keys() != {"fc6", "fc7", "score_fr"}:
        raise WeightsError(f"another net: choose model={MODELS[arch]} head=fc backbone=vgg16")
    blobs = _blobs(state_dicts.checked(weights))
    if scaled:
        blobs |= {
            name: [constant.blob().numpy()]
            for name, constant in constants(net).items()
            if name.startswith("scale_")
        }
    if not more:
        return load_blobs(net, blobs)
    _require(net, blobs, {f"score_pool{4 - i}" for i in range(SKIPS[arch], len(scorer.skips))})
    return load_blobs(net, blobs, strict=False)


def _require(net: Network, blobs: dict[str, list[np.ndarray]], new: set[str]) -> None:
    """Raise WeightsError if a layer is missing that is not one of the new."""
    names = [name for scorer in net.scorers().values() for name in scorer.layers()]
    if missing := [name for name in names if name not in blobs and name not in new]:
        raise WeightsError(f"no weights for {', '.join(missing)}: give a whole file")


def _vgg(net: Network, weights: dict[str, Tensor], kind: Kind) -> Transplant:
    """Load torchvision's vgg16 or vgg16_bn: the trunk, and fc6 and fc7 from its classifier."""
    backbone = next(iter(net.scorers().values())).backbone
    batch_norm: bool = backbone.batch_norm  # type: ignore[attr-defined]  # a VGG16
    if batch_norm != kind.name.endswith("_bn"):
        raise WeightsError(f"the backbone is VGG16 with batch_norm={str(batch_norm).lower()}")
    names = {f"features.{at}": name for at, name in state_dicts.vgg_layers(batch_norm).items()}
    names |= {"classifier.0": "fc6", "classifier.3": "fc7"}
    wanted = {n: v for n, v in weights.items() if n.rpartition(".")[0] in names}
    blobs = _blobs(state_dicts.checked(wanted), names)
    report = load_blobs(net, blobs, strict=False)
    others = dict.fromkeys(n.rpartition(".")[0] for n in weights if n not in wanted)
    report.unused += others
    return report


def _trunks(net: Network, weights: dict[str, Tensor]) -> Transplant:
    """Load each stream's trunk by its own layer names, conv1 adapted to the input channels."""
    report = Transplant()
    used: set[str] = set()
    for scorer in net.scorers().values():
        trunk: nn.Module = scorer.backbone  # type: ignore[assignment]  # it is a Module
        own = {n: v for n, v in trunk.state_dict().items() if not n.endswith(COUNTED)}
        names = _matched(own, weights)
        given = state_dicts.checked({n: weights[there] for n, there in names.items()})
        for name, value in given.items():
            if value.shape != own[name].shape:
                value = _widened(value, own[name])
            if value.shape != own[name].shape:
                raise WeightsError(
                    f"{names[name]} is {tuple(given[name].shape)}; the backbone's is "
                    f"{tuple(own[name].shape)}"
                )
            given[name] = value
        trunk.load_state_dict(given, strict=False)
        used |= set(names.values())
    report.copied = list(dict.fromkeys(n.rpartition(".")[0] for n in weights if n in used))
    report.unused = list(dict.fromkeys(n.rpartition(".")[0] for n in weights if n not in used))
    report.new = {
        name.removeprefix("net."): [value]
        for name, value in net.named_parameters()
        if ".backbone." not in name
    }
    return report


def _matched(own: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, str]:
    """Return the file's names of a trunk's tensors. Raises WeightsError if one is missing."""
    prefixes = ("", "backbone.", "trunk.", "encoder.")
    best: dict[str, str] = {}
    for mine in ("", "trunk."):
        for theirs in prefixes:
            names = {n: theirs + n.removeprefix(mine) for n in own}
            found = {n: there for n, there in names.items() if there in weights}
            best = max(best, found, key=len)
    if missing := [name for name in own if name not in best]:
        raise WeightsError(
            f"it has {len(best)} of the {len(own)} tensors of this backbone; missing: "
            f"{', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}"
        )
    return best


def _widened(filters: Tensor, own: Tensor) -> Tensor:
    """Colour filters adapted to the channels of a first layer; other tensors as they are."""
    if filters.ndim != 4 or own.ndim != 4 or filters.shape[1] != 3:
        return filters
    return torch.from_numpy(widen(filters.numpy(), own.shape[1]))


def _blobs(
    weights: dict[str, Tensor], names: dict[str, str] | None = None
) -> dict[str, list[np.ndarray]]:
    """Return arrays by layer: weight, bias, and the statistics of a batch normalisation."""
    found: dict[str, list[np.ndarray]] = {}
    for part in ("weight", "bias", "running_mean", "running_var"):
        for name, value in weights.items():
            layer, _, last = name.rpartition(".")
            if last == part:
                found.setdefault((names or {}).get(layer, layer), []).append(value.numpy())
    return found
