"""Facts about a trunk's layers, found by running it on the meta device, which computes nothing."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fcnexp.nn.backbones.base import Backbone
from fcnexp.nn.pooling import MaxPool

_SIDE = 2048  # pixels: a multiple of any stride


class LayerRun(NamedTuple):
    """A layer that ran, and the heights of its input and output maps."""

    layer: nn.Module
    height_in: int
    height_out: int


class Pooling(NamedTuple):
    """A trunk's pooling that records the positions of its maxima.

    name: in the trunk. channels: of its maps. step: pixels between the cells of its input.
    """

    name: str
    pool: MaxPool
    channels: int
    step: int


def cut(backbone: Backbone, stride: int) -> None:
    """Remove a trunk's taps beyond this stride, and the layers that only those need.

    Raises ValueError if the trunk has no tap of this stride.
    """
    if stride not in backbone.taps:
        raise ValueError(
            f"no tap of stride {stride}; choose one of {', '.join(map(str, backbone.taps))}"
        )
    for coarser in [s for s in backbone.taps if s > stride]:
        del backbone.taps[coarser]
    if hasattr(backbone, "shorten"):  # it runs as a whole
        backbone.shorten()
        return
    used = {id(each.layer) for each in _run(backbone, _SIDE)}
    for parent in list(cast(nn.Module, backbone).modules()):
        for name, child in list(parent.named_children()):
            if not any(id(module) in used for module in child.modules()):
                delattr(parent, name)


def steps(backbone: Backbone) -> dict[nn.Module, tuple[int, int]]:
    """Return the pixels between cells of each layer's input and output.

    A map grows by one cell for every `step` pixels by which the image grows, for any padding and
    rounding. Layers of maps that do not grow, such as a mean over the image, are left out.
    """
    small, large = _run(backbone, _SIDE), _run(backbone, 2 * _SIDE)
    return {
        a.layer: (_SIDE // (b.height_in - a.height_in), _SIDE // (b.height_out - a.height_out))
        for a, b in zip(small, large, strict=True)
        if b.height_in > a.height_in and b.height_out > a.height_out
    }


def chain(
    backbone: Backbone, head: nn.Module
) -> tuple[list[nn.Module], dict[int, nn.Module]] | None:
    """Return the layers of a trunk and its head in order, and the last layer of each tap.

    None if the net branches: some layer's input is not exactly the output of the layer before.
    """
    done: list[tuple[nn.Module, Any, Any]] = []  # layer, input, output

    def record(layer: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        done.append((layer, args[0], out))

    taps = _run_on_meta(backbone, (meta_image(backbone),), record)
    _run_on_meta(head, (taps[max(taps)],), record)
    if any(later[1] is not before[2] for before, later in pairwise(done)):
        return None
    ends = {stride: layer for stride, maps in taps.items() for layer, _, out in done if out is maps}
    return [layer for layer, _, _ in done], ends


def poolings(backbone: Backbone) -> list[Pooling]:
    """Return the poolings of a trunk that takes a list of switches, in running order."""
    names = {module: name for name, module in cast(nn.Module, backbone).named_modules()}
    strides = steps(backbone)
    found: list[Pooling] = []

    def record(layer: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if isinstance(layer, MaxPool) and len(args) > 1:
            name = names[layer].replace(".", "_")
            found.append(Pooling(name, layer, out.shape[1], strides[layer][0]))

    _run_on_meta(backbone, (meta_image(backbone), []), record)
    return found


def _run(trunk: Any, height: int) -> list[LayerRun]:
    """Return the layers that give maps, in running order, for an image of this height."""
    runs: list[LayerRun] = []

    def record(layer: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if isinstance(out, Tensor) and out.ndim == 4:
            runs.append(LayerRun(layer, args[0].shape[-2], out.shape[-2]))

    _run_on_meta(trunk, (meta_image(trunk, height - _SIDE),), record)
    return runs


def map_sizes(
    net: nn.Module, inputs: dict[str, tuple[int, torch.dtype]], size: tuple[int, int]
) -> dict[str, tuple[torch.Size, torch.Size]]:
    """Return the sizes (h, w) of each layer's input and output maps, by the layer's name.

    inputs: number of channels and precision of each field. size: of the image.
    Raises ValueError if a layer runs twice, on maps of different sizes.
    """
    names = {module: name for name, module in net.named_modules()}
    found: dict[str, tuple[torch.Size, torch.Size]] = {}

    def record(layer: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if isinstance(out, Tensor) and out.ndim == 4:
            sizes = args[0].shape[-2:], out.shape[-2:]
            if found.setdefault(names[layer], sizes) != sizes:
                raise ValueError(f"{names[layer]} runs twice, on maps of different sizes")

    image = {
        name: torch.empty(1, channels, *size, dtype=dtype, device="meta")
        for name, (channels, dtype) in inputs.items()
    }
    _run_on_meta(net, (image,), record)
    return found


def bytes_of(module: nn.Module, maps: Tensor) -> int:
    """Return the largest size in bytes of any one layer's input and output together.

    Counted in the precision of the weights, also under autocast.
    """
    largest = 0

    def record(layer: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        nonlocal largest
        held = [t for t in (*args, out) if isinstance(t, Tensor)]
        largest = max(largest, sum(t.numel() * t.element_size() for t in held))

    weights = next(module.parameters(), maps)  # maps may be bfloat16: meta ignores autocast
    _run_on_meta(module, (maps.to("meta", weights.dtype),), record)
    return largest


def meta_image(trunk: Any, longer: int = 0) -> Tensor:
    """Return an image (1, C, H, W) on the meta device; its width is divisible by any stride.

    longer: height minus width, in pixels.
    """
    first = next(m for m in trunk.modules() if isinstance(m, nn.Conv2d))
    shape, dtype = (1, first.in_channels, _SIDE + longer, _SIDE), first.weight.dtype
    return torch.empty(shape, dtype=dtype, device="meta")


def output_size(module: nn.Module, maps: Tensor) -> tuple[int, int]:
    """Return the height and width of a module's output for these maps."""
    out = _run_on_meta(module, (maps.to("meta"),), lambda *_: None)
    return out.shape[-2], out.shape[-1]


def _run_on_meta(module: Any, inputs: tuple[Any, ...], record: Callable[..., None]) -> Any:
    """Run a module on the meta device with a hook on each layer, and return its output."""
    leaves = [m for m in module.modules() if not any(m.children())]
    handles = [leaf.register_forward_hook(record) for leaf in leaves]
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    modes = {m: m.training for m in module.modules()}
    try:
        module.eval()  # so that batch normalisation keeps its statistics
        return functional_call(module, {name: t.to("meta") for name, t in tensors.items()}, inputs)
    finally:
        for each, mode in modes.items():
            each.training = mode
        for handle in handles:
            handle.remove()
