"""A net's weights by the names and in the shapes of the original Caffe nets."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fcnexp.nn.deconvnet import DeconvNet
from fcnexp.nn.dense.deconvolution import Deconvolution, LearnedDeconvolution
from fcnexp.nn.dense.upsampling import Upsampling
from fcnexp.nn.streams import Network, Stream

# Suffixes of layer names in nets with several streams; for other fields the suffix is their name.
SUFFIX = {"rgb": "color"}


class Constant(NamedTuple):
    """Untrained blob of the original net, which checkpoints need not store.

    shape: Caffe's. value: kernel (k, k) that each class applies to itself, or one number for all.
    """

    shape: tuple[int, ...]
    value: Tensor | float

    @property
    def size(self) -> int:
        """Count of numbers in the original blob."""
        return torch.Size(self.shape).numel()

    def blob(self) -> Tensor:
        """The original blob, float32."""
        if isinstance(self.value, float):
            return torch.full(self.shape, self.value)
        blob = torch.zeros(self.shape)
        diagonal = torch.arange(self.shape[0])
        blob[diagonal, diagonal] = self.value
        return blob


def blobs(net: nn.Module) -> dict[str, list[Tensor]]:
    """A net's parameters, weight and bias, by original layer name and in the original's order.

    Where the original has one layer per task (SIFT Flow), these are views of the parameters.
    net: a `Network`, or any module with `layers()`.
    """
    if not isinstance(net, Network):
        layers = net.layers()  # type: ignore[operator]
        return {name: _tensors(layer) for name, layer in layers.items()}
    found = {}
    for stream, (field, scorer) in zip(net.streams, net.scorers().items(), strict=True):
        suffix = SUFFIX.get(field, field) if len(net.streams) > 1 else ""
        first = next(iter(scorer.backbone.layers()), "")
        for name, layer in scorer.layers().items():
            shown = f"{name}_bgrd" if name == first and stream == ("rgb", "depth") else name
            if name.startswith("score"):
                for task, tensors in _by_task(net.outputs, _tensors(layer)):
                    found[shown + task + suffix] = tensors
            else:
                found[shown + suffix] = _tensors(layer)
    if isinstance(net.net.dense, LearnedDeconvolution):
        found["upscore"] = _tensors(net.net.dense.upscore)
    for name, suffix, layer in _upsamplings(net):
        if layer.learned:
            found[name + suffix] = [layer.kernel]
    return found


def first_layers(net: nn.Module) -> set[str]:
    """Names of the first layers, one per stream; empty if the net is not a `Network`."""
    if not isinstance(net, Network):
        return set()
    parameters = {id(t): name for name, tensors in blobs(net).items() for t in tensors}
    layers = [next(iter(s.backbone.layers().values()), None) for s in net.scorers().values()]
    return {parameters[id(layer.weight)] for layer in layers if layer is not None}


def constants(net: nn.Module) -> dict[str, Constant]:
    """Fixed blobs of the original by layer name: bilinear kernels and constants on taps."""
    if not isinstance(net, Network):
        return {}
    found = {}
    for field, scorer in net.scorers().items():
        suffix = SUFFIX.get(field, field) if len(net.streams) > 1 else ""
        for name, (channels, value) in scorer.scales().items():
            found[name + suffix] = Constant((channels,), value)
    for name, suffix, layer in _upsamplings(net):
        if layer.learned or layer.kernel_size == 1:  # size 1: no such layer in the original
            continue
        kernel: Tensor = layer.kernel[0, 0]
        for task, count in _tasks(net.outputs):
            shape = (count, count, *kernel.shape)
            found[name + task + suffix] = Constant(shape, kernel)
    return found


def _upsamplings(net: Network) -> Iterator[tuple[str, str, Upsampling]]:
    """Yield the name, the stream's suffix and the module of each of a net's upsampling layers."""
    for field, scorer in net.scorers().items():
        suffix = SUFFIX.get(field, field) if len(net.streams) > 1 else ""
        for name, layer in scorer.upsamplings().items():
            yield name, suffix, layer
    if isinstance(net.net.dense, Deconvolution):
        yield final_name(scorer), "", net.net.dense.upsampling


def final_name(scorer: Stream) -> str:
    """Name of the upsampling to the image: `upscore` for 32s, else `upscore16` ..."""
    return f"upscore{int(scorer.grid.step)}" if scorer.skips else "upscore"


def counts(net: Network) -> dict[str, int]:
    """Parameter counts over all blobs of the original: total, learnable and fixed."""
    learnable = sum(p.numel() for p in net.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in net.parameters() if not p.requires_grad)
    fixed = frozen + sum(constant.size for constant in constants(net).values())
    return {"total": learnable + fixed, "learnable": learnable, "fixed": fixed}


def fixed_counts(net: nn.Module) -> dict[str, int]:
    """Counts of the net's untrained values, by kind."""
    return {
        "not trained": sum(p.numel() for p in net.parameters() if not p.requires_grad),
        "bilinear kernels": sum(
            buffer.numel()
            for layer in net.modules()
            if isinstance(layer, Upsampling)
            for buffer in layer.buffers()
        ),
    }


def original_names(net: Network) -> tuple[dict[int, str], dict[int, str]]:
    """Return original names of weights, kernels, skips and blocks by id, and stream suffixes by id.

    Layers without a Caffe original, such as a ResNet's, are named by their path in the trunk.
    """
    names: dict[int, str] = {}
    suffixes: dict[int, str] = {}
    for stream, (name, scorer) in zip(net.streams, net.scorers().items(), strict=True):
        suffix = SUFFIX.get(name, name) if len(net.streams) > 1 else ""
        suffixes[id(scorer)] = suffix
        for path, module in scorer.backbone.named_modules():  # type: ignore[attr-defined]
            path = path.removeprefix("trunk.")
            if isinstance(weight := getattr(module, "weight", None), Tensor):
                names[id(weight)] = path + suffix
            if path.startswith("inception_") and "." not in path:
                names[id(module)] = path + suffix
        first = next(iter(scorer.backbone.layers()), "")
        for path, module in scorer.layers().items():
            path = f"{path}_bgrd" if path == first and stream == ("rgb", "depth") else path
            names[id(module.weight)] = path + suffix
        if isinstance(scorer, DeconvNet):
            for path, level in scorer.levels.items():
                names[id(level.unpool)] = path + suffix
        for path, upsampling in scorer.upsamplings().items():
            names[id(upsampling.kernel)] = path + suffix
        for path, skip in zip(list(scorer.score_layers())[1:], scorer.skips.values(), strict=True):
            names[id(skip)] = path.replace("score", "fuse", 1) + suffix
        for layer in net.net.dense.modules():
            if isinstance(layer, Upsampling):
                names[id(layer.kernel)] = final_name(scorer)
            elif isinstance(layer, nn.ConvTranspose2d):
                names[id(layer.weight)] = "upscore"
    return names, suffixes


def _tensors(layer: nn.Module) -> list[Tensor]:
    return [layer.weight] + ([layer.bias] if layer.bias is not None else [])  # type: ignore[return-value]


def _tasks(outputs: dict[str, int]) -> Iterator[tuple[str, int]]:
    """Yield each task's suffix and number of classes; a single task has no suffix."""
    for task, count in outputs.items():
        yield (f"_{task}" if len(outputs) > 1 else "", count)


def _by_task(outputs: dict[str, int], tensors: list[Tensor]) -> Iterator[tuple[str, list[Tensor]]]:
    if len(outputs) == 1:
        yield "", tensors
        return
    first = 0
    for task, count in _tasks(outputs):
        yield task, [tensor[first : first + count] for tensor in tensors]
        first += count
