"""A net's weights under the names and in the shapes that they have in the original Caffe nets."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fcnexp.nn.deconvnet import DeconvNet
from fcnexp.nn.dense.deconvolution import Deconvolution, LearnedDeconvolution
from fcnexp.nn.dense.upsampling import Upsampling
from fcnexp.nn.streams import Network, Stream

SUFFIX = {"rgb": "color"}  # of layer names in nets with several streams; else the field's name


class Constant(NamedTuple):
    """A blob of the original that is not trained, and that we need not store.

    shape: Caffe's; value: the kernel (k, k) on the diagonal over classes, or one number for all.
    """

    shape: tuple[int, ...]
    value: Tensor | float

    @property
    def size(self) -> int:
        """Numbers in the original's blob."""
        return torch.Size(self.shape).numel()

    def blob(self) -> Tensor:
        """The original's blob, float32."""
        if isinstance(self.value, float):
            return torch.full(self.shape, self.value)
        blob = torch.zeros(self.shape)
        diagonal = torch.arange(self.shape[0])
        blob[diagonal, diagonal] = self.value
        return blob


def blobs(net: nn.Module) -> dict[str, list[Tensor]]:
    """A net's parameters, weight and bias, by original layer name, in the original's order.

    Whole parameters, or views of them where the original has a layer per task (SIFT Flow).
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
    """Names of the layers that see the image, one per stream; none where nobody can tell."""
    if not isinstance(net, Network):
        return set()
    parameters = {id(t): name for name, tensors in blobs(net).items() for t in tensors}
    layers = [next(iter(s.backbone.layers().values()), None) for s in net.scorers().values()]
    return {parameters[id(layer.weight)] for layer in layers if layer is not None}


def constants(net: nn.Module) -> dict[str, Constant]:
    """The original's fixed blobs by layer name: bilinear kernels and constants on taps."""
    if not isinstance(net, Network):
        return {}
    found = {}
    for field, scorer in net.scorers().items():
        suffix = SUFFIX.get(field, field) if len(net.streams) > 1 else ""
        for name, (channels, value) in scorer.scales().items():
            found[name + suffix] = Constant((channels,), value)
    for name, suffix, layer in _upsamplings(net):
        if layer.learned or layer.kernel_size == 1:  # of size 1 it does nothing, and is not there
            continue
        kernel: Tensor = layer.kernel[0, 0]
        for task, count in _tasks(net.outputs):
            shape = (count, count, *kernel.shape)
            found[name + task + suffix] = Constant(shape, kernel)
    return found


def _upsamplings(net: Network) -> Iterator[tuple[str, str, Upsampling]]:
    """Name, suffix of the stream, and upsampling, for all of a net."""
    for field, scorer in net.scorers().items():
        suffix = SUFFIX.get(field, field) if len(net.streams) > 1 else ""
        for name, layer in scorer.upsamplings().items():
            yield name, suffix, layer
    if isinstance(net.net.dense, Deconvolution):
        yield final_name(scorer), "", net.net.dense.upsampling


def final_name(scorer: Stream) -> str:
    """What the upsampling to the image is called: `upscore` for 32s, else `upscore16` ..."""
    return f"upscore{int(scorer.grid.step)}" if scorer.skips else "upscore"


def counts(net: Network) -> dict[str, int]:
    """Numbers in all parameter blobs of the original: total, learnable and fixed."""
    learnable = sum(p.numel() for p in net.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in net.parameters() if not p.requires_grad)
    fixed = frozen + sum(constant.size for constant in constants(net).values())
    return {"total": learnable + fixed, "learnable": learnable, "fixed": fixed}


def fixed_counts(net: nn.Module) -> dict[str, int]:
    """Counts of the net's numbers that do not learn, by what they are."""
    return {
        "not trained": sum(p.numel() for p in net.parameters() if not p.requires_grad),
        "bilinear kernels": sum(
            buffer.numel()
            for layer in net.modules()
            if isinstance(layer, Upsampling)
            for buffer in layer.buffers()
        ),
    }


def names_by_id(net: Network) -> tuple[dict[int, str], dict[int, str]]:
    """Original names of weights, kernels, skips and blocks by id; suffixes of streams by id.

    Layers without an original, such as a ResNet's, go by their place in the trunk.
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
    """Suffix and number of classes of each task; a single one has no suffix."""
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
