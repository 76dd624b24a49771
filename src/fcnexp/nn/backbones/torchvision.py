"""Any of torchvision's classifiers as a trunk, cut into maps by its feature extractor."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from fcnexp.nn.backbones.base import PublishedWeights
from fcnexp.nn.backbones.found import REFUSALS, SIDES, FoundTrunk, Survey, survey
from fcnexp.nn.backbones.positioned import EXACT
from fcnexp.nn.backbones.positions import run_on_positions
from fcnexp.nn.layers import widen
from fcnexp.nn.pooling import MaxPool

log = logging.getLogger(__name__)


class TorchvisionTrunk(FoundTrunk):
    """A classifier of torchvision without what follows its last map.

    Its taps are the outputs of the last block of each stride; blocks are the parts of the net that
    it runs one after the other. name: one of `torchvision.models.list_models()`, e.g. `resnet50`.
    Raises ValueError if there is no such net, or if it has no maps.
    """

    def __init__(self, in_channels: int, name: str) -> None:
        weights = published(name)
        blocks, found = _known(in_channels, name)
        super().__init__(found, partial(_extractor, in_channels, name, blocks))
        self.first = _first_convolution(self.trunk)[0]
        self.imagenet = file_of(weights)

    def load_published(self, path: Path) -> None:
        """Load torchvision's weights of the layers that the trunk has, the first one widened.

        Raises RuntimeError if they are from a different net.
        """
        weights = torch.load(path, map_location="cpu", weights_only=True)
        first = f"{self.first}.weight"
        channels = self.trunk.get_parameter(first).shape[1]
        weights[first] = torch.from_numpy(widen(weights[first].numpy(), channels))
        own = self.trunk.state_dict()
        self.trunk.load_state_dict({key: weights[key] for key in own if key in weights})


def file_of(weights: torchvision.models.WeightsEnum) -> PublishedWeights:
    """Return where weights are published, with the digest that is in their file's name."""
    file = weights.url.rsplit("/", 1)[-1]  # named NAME-DIGEST.pth
    digest = file.split("-")[-1].removesuffix(".pth")
    return PublishedWeights(file, weights.url, digest, "sha256")


def published(name: str) -> torchvision.models.WeightsEnum:
    """Return torchvision's first ImageNet weights of a classifier. Raises ValueError."""
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ValueError(f"backbone.name={name}: torchvision has {', '.join(known)}")
    weights = torchvision.models.get_model_weights(name)
    return getattr(weights, "IMAGENET1K_V1", None) or next(iter(weights))


@cache
def _known(in_channels: int, name: str) -> tuple[tuple[str, ...], Survey]:
    """Return the names of the blocks whose outputs are a net's maps, and what is found of them."""
    with torch.device("meta"):
        blocks = _last_blocks(_classifier(in_channels, name), in_channels, name)
        net = _extractor(in_channels, name, blocks, range(len(blocks)))
    try:
        return blocks, survey(net, in_channels)
    except ValueError as error:
        raise ValueError(f"backbone.name={name}: no trunk for dense scores: {error}") from None


def _classifier(in_channels: int, name: str) -> nn.Module:
    """Return a classifier with random weights, poolings and a first layer of our own."""
    device = torch.get_default_device()
    with warnings.catch_warnings(), torch.device("cpu" if name.startswith("regnet") else device):
        warnings.simplefilter("ignore")  # of initial weights, which are replaced
        net = torchvision.models.get_model(name, weights=None).to(device)  # RegNet needs a CPU
    for parent in list(net.modules()):
        for key, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d) and child.dilation in (1, (1, 1)):
                kernel, stride, pad = (
                    _one(n) for n in (child.kernel_size, child.stride, child.padding)
                )
                hang = stride - 1 if child.ceil_mode else 0
                setattr(parent, key, MaxPool(kernel, stride, pad, hang=hang))
    if hasattr(net, "transform_input"):
        if in_channels != 3:
            raise ValueError(
                f"backbone.name={name}: takes three channels, but the modality has {in_channels}"
            )
        net.transform_input = True  # as with published weights: they take other means
    elif in_channels != 3:
        key, first = _first_convolution(net)
        parent, _, last = key.rpartition(".")
        made = nn.Conv2d(
            in_channels, first.out_channels, first.kernel_size, first.stride, first.padding,  # type: ignore[arg-type]
            bias=first.bias is not None,
        )  # fmt: skip
        setattr(net.get_submodule(parent), last, made)
    return net


def _one(number: int | tuple[int, ...]) -> int:
    return number[0] if isinstance(number, tuple) else number


def _first_convolution(net: nn.Module) -> tuple[str, nn.Conv2d]:
    return next((n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d))


def _blocks(net: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts that a net runs one after the other, looking into its sequences.

    Not into those of torchvision.ops, which the feature extractor takes as one operation.
    """
    for name, child in net.named_children():
        homes = {kind.__module__ for kind in type(child).__mro__}
        ops = any(home.startswith("torchvision.ops") for home in homes)
        if isinstance(child, nn.Sequential) and not ops:
            yield from _blocks(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def _last_blocks(net: nn.Module, channels: int, name: str) -> tuple[str, ...]:
    """Return the last block of each size of map before the mean over the image, finest first."""
    last: dict[int, str] = {}

    def record(block: str, made: object) -> None:
        if not isinstance(made, Tensor) or made.ndim != 4:
            return
        sums = made.as_subclass(Tensor)
        rows = sums[1] / sums[0]
        moves = [float((rows.amax(axis) - rows.amin(axis)).max()) > EXACT for axis in (0, 1, 2)]
        cells = next((n for n, moved in zip(rows.shape, moves, strict=True) if moved), 1)
        if 1 < cells <= min(last, default=cells):
            last[cells] = block

    size = SIDES[0][0]
    for block, module in _blocks(net):
        module.register_forward_hook(lambda _m, _args, made, block=block: record(block, made))
    try:
        run_on_positions(net, channels, size, ends=False)
    except REFUSALS as error:
        words = " ".join(str(error).split())
        raise ValueError(
            f"backbone.name={name}: takes no images of {size[0]}x{size[1]}: {words}"
        ) from None
    if not last:
        raise ValueError(f"backbone.name={name}: gives no maps, only one vector for each image")
    return tuple(last.values())


def _extractor(
    in_channels: int, name: str, blocks: Sequence[str], places: Sequence[int]
) -> nn.Module:
    """Return the part of a classifier that computes the outputs of some of its blocks."""
    net = _classifier(in_channels, name)
    nodes = {blocks[place]: str(place) for place in places}
    leaves = {"leaf_modules": [MaxPool]}
    return create_feature_extractor(net, nodes, tracer_kwargs=leaves, suppress_diff_warning=True)
