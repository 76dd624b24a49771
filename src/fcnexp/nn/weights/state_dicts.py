"""State dicts of other programs: found in what they store, and recognised by their layers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fcnexp.errors import WeightsError
from fcnexp.nn.backbones import vgg

WRAPPERS = ("model_state_dict", "state_dict", "model", "net")  # pytorch-fcn, Lightning, torchvision
PYTORCH_FCN, VGG, RESNET, TRUNK = "pytorch-fcn", "vgg", "resnet", "trunk"
SKIPS = {"FCN32s": 0, "FCN16s": 1, "FCN8s": 2, "FCN8sAtOnce": 2}  # of pytorch-fcn's nets
MODELS = {"FCN32s": "fcn32s", "FCN16s": "fcn16s", "FCN8s": "fcn8s", "FCN8sAtOnce": "fcn8s_atonce"}
TORCHVISION = "modality=rgb_torchvision"
WHOLE = {  # a layer that only this net has, and the option that reads it
    "classifier.low_classifier.weight": "lraspp_mobilenet_v3_large",
    "segmentation_head.0.weight": "smp, with its model.arch and model.encoder,",
}


class Kind(NamedTuple):
    """What a state dict is. form: of its names, if it can be read. reader: what to type."""

    name: str
    form: str | None
    reader: str


def weights_in(stored: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the state dict that another program stored, by plain names; {} if there is none."""
    inner = next((v for n in WRAPPERS if isinstance(v := stored.get(n), Mapping)), stored)
    tensors = {n: v for n, v in inner.items() if isinstance(n, str) and isinstance(v, Tensor)}
    parallel = bool(tensors) and all(name.startswith("module.") for name in tensors)
    return {n.removeprefix("module.") if parallel else n: v for n, v in tensors.items()}


def what_it_is(stored: object) -> str:
    """Say which kind of file another program stored, and what reads it."""
    if isinstance(stored, Tensor):
        return "a single tensor; give a state dict"
    if not isinstance(stored, Mapping):
        return f"a {type(stored).__name__}, without weights by name; give a state dict"
    weights = weights_in(stored)
    if not weights:
        return f"no state dict (its entries: {', '.join(map(str, list(stored)[:4]))})"
    kind = kind_of(weights, stored)
    return f"{kind.name}; {kind.reader}"


def kind_of(weights: dict[str, Tensor], stored: Mapping[str, Any]) -> Kind:
    """Recognise a state dict by the names and shapes of its layers."""

    def shape(name: str) -> tuple[int, ...]:
        return tuple(weights[name].shape) if name in weights else ()

    reads = "fcnexp.train reads it with init=checkpoint init.path=FILE"
    if "conv1_1.weight" in weights and "score_fr.weight" in weights:
        arch = arch_of(weights, stored)
        alike = ", or model=fcn8s_atonce if it is FCN8sAtOnce" if arch == "FCN8s" else ""
        said = "" if stored.get("arch") == arch else alike
        which = f"backbone=vgg16 model={MODELS[arch]}{said}"
        return Kind(f"pytorch-fcn's {arch}", PYTORCH_FCN, f"{reads} {which}")
    if shape("features.0.weight")[:1] + shape("features.0.weight")[2:] == (64, 11, 11):
        return Kind(
            "torchvision's alexnet",
            None,
            "it is not the paper's AlexNet (64 filters instead of 96, no groups, no response "
            "normalisation), so nothing here reads it; use backbone=alexnet init=imagenet",
        )
    if "inception3a.branch1.conv.weight" in weights:
        return Kind(
            "torchvision's googlenet",
            None,
            "it is not the paper's GoogLeNet (batch normalisation, no 5x5 filters), so nothing "
            "here reads it; use backbone=googlenet init=imagenet",
        )
    for layer, options in WHOLE.items():
        if layer in weights:
            what = f"of the kind of model={options.split(', ')[0]}"
            return Kind(f"a whole net {what}", TRUNK, f"{reads} model={options} {TORCHVISION}")
    trunk = {name.rpartition(".")[0] for name in weights if name.startswith("features.")}
    for name, batch_norm in (("vgg16", False), ("vgg16_bn", True)):
        if trunk == {f"features.{at}" for at in vgg_layers(batch_norm)}:
            return Kind(f"torchvision's {name}", VGG, f"{reads} backbone={name} {TORCHVISION}")
    for prefix, what in (("", "ResNet"), ("backbone.", "segmentation net with a ResNet")):
        if f"{prefix}layer1.0.conv1.weight" in weights and f"{prefix}conv1.weight" in weights:
            if any(name.startswith("decode_head.") for name in weights):
                what = "mmsegmentation's net with a ResNet"
            else:
                what = f"torchvision's {what}"
            reader = f"{reads} backbone=resnet18 {TORCHVISION} (of another ResNet: backbone.name)"
            whole = "deeplabv3" if "classifier.0.convs.0.0.weight" in weights else "fcn"
            read = (
                f", but is with model={whole}_resnet50" if "classifier.4.weight" in weights else ""
            )
            return Kind(what, RESNET, f"{reader}; its classifier is not used{read}")
    for start, what in (
        ("decode_head.", "mmsegmentation's net"),
        ("backbone.bottom_up.", "detectron2's net"),
        ("features.", "a net with torchvision's layer names"),
    ):
        if any(name.startswith(start) for name in weights):
            reader = "fcnexp reads it if the trunk's layers are those of your backbone"
            return Kind(what, TRUNK, reader)
    listed = ", ".join(list(weights)[:3])
    return Kind(
        f"a state dict with the layers {listed} ...",
        TRUNK,
        "it is read with init=checkpoint if the trunk's layers are those of your backbone",
    )


def arch_of(weights: dict[str, Tensor], stored: Mapping[str, Any]) -> str:
    """Name of the pytorch-fcn net: as it was stored, or else by its score layers.

    FCN8s and FCN8sAtOnce have the same layers.
    """
    by_layers = {0: "FCN32s", 1: "FCN16s", 2: "FCN8s"}[
        sum(f"score_pool{i}.weight" in weights for i in (3, 4))
    ]
    said = stored.get("arch")
    known = isinstance(said, str) and SKIPS.get(said) == SKIPS[by_layers]
    return str(said) if known else by_layers


def vgg_layers(batch_norm: bool) -> dict[int, str]:
    """Original layer names by their place in the `features` of torchvision's vgg16."""
    found: dict[int, str] = {}
    at = 0
    for block, (_, depth) in enumerate(vgg.BLOCKS, start=1):
        for i in range(1, depth + 1):
            found[at] = f"conv{block}_{i}"
            if batch_norm:
                found[at + 1] = f"bn{block}_{i}"
            at += 3 if batch_norm else 2  # with ReLU
        at += 1  # pooling
    return found


def checked(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return dense tensors as float32. Raises WeightsError naming one that is NaN or sparse."""
    result = {}
    for name, value in weights.items():
        if value.layout != torch.strided or value.is_meta or value.is_complex():
            raise WeightsError(f"{name} is not a dense tensor of real numbers")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise WeightsError(f"damaged, {name} has fewer values than its shape")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise WeightsError(
                f"{name} holds NaN or infinity: its training diverged, the file is damaged "
                "or it lacks this layer; use another file"
            )
        result[name] = value.detach().float()
    return result
