"""What a trunk's layers do, seen on runs that compute nothing."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fcnexp.nn.backbones.base import Backbone
from fcnexp.nn.pooling import MaxPool

_SIDE = 2048  # pixels: a multiple of any stride


class Seen(NamedTuple):
    """A layer of a run. taken, given: height of its input and of its output."""

    layer: nn.Module
    taken: int
    given: int


class Pooling(NamedTuple):
    """A pooling of a trunk that records where its maxima were.

    name: in the trunk. channels: of its maps. step: pixels between the cells that it takes.
    """

    name: str
    pool: MaxPool
    channels: int
    step: int


def cut(backbone: Backbone, stride: int) -> None:
    """Drop a trunk's taps beyond this stride, and the layers that only those need.

    Raises ValueError where there is no such tap.
    """
    if stride not in backbone.taps:
        raise ValueError(
            f"no tap of stride {stride}; there are {', '.join(map(str, backbone.taps))}"
        )
    for coarser in [s for s in backbone.taps if s > stride]:
        del backbone.taps[coarser]
    trunk: nn.Module = backbone  # type: ignore[assignment]  # it is a Module
    used = {id(seen.layer) for seen in run(trunk, _SIDE)}
    for parent in list(trunk.modules()):
        for name, child in list(parent.named_children()):
            if not any(id(module) in used for module in child.modules()):
                delattr(parent, name)


def steps(backbone: Backbone) -> dict[nn.Module, tuple[int, int]]:
    """Pixels from cell to cell of the input and of the output of each of a trunk's layers.

    A map grows by one cell for every `step` pixels by which the image grows, whatever the padding
    and the rounding are.
    """
    trunk: nn.Module = backbone  # type: ignore[assignment]  # it is a Module
    small, large = run(trunk, _SIDE), run(trunk, 2 * _SIDE)
    return {
        a.layer: (_SIDE // (b.taken - a.taken), _SIDE // (b.given - a.given))
        for a, b in zip(small, large, strict=True)
    }


def chain(
    backbone: Backbone, head: nn.Module
) -> tuple[list[nn.Module], dict[int, nn.Module]] | None:
    """Layers of a trunk and its head in their order, and which of them ends in which tap.

    None where one of them takes more or less than what the one before gave: where nets branch.
    """
    done: list[tuple[nn.Module, Any, Any]] = []  # layer, what it took, what it gave
    trunk: nn.Module = backbone  # type: ignore[assignment]  # it is a Module

    def note(layer: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        done.append((layer, args[0], out))

    taps = _watch_on_meta(trunk, (picture(backbone),), note)
    _watch_on_meta(head, (taps[max(taps)],), note)
    if any(later[1] is not before[2] for before, later in pairwise(done)):
        return None
    ends = {stride: layer for stride, maps in taps.items() for layer, _, out in done if out is maps}
    return [layer for layer, _, _ in done], ends


def poolings(backbone: Backbone) -> list[Pooling]:
    """Poolings that record switches, in the order in which they run.

    backbone: one that takes a list of switches.
    """
    trunk: nn.Module = backbone  # type: ignore[assignment]  # it is a Module
    names = {module: name for name, module in trunk.named_modules()}
    strides = steps(backbone)
    found: list[Pooling] = []

    def note(layer: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if isinstance(layer, MaxPool) and len(args) > 1:
            name = names[layer].replace(".", "_")
            found.append(Pooling(name, layer, out.shape[1], strides[layer][0]))

    _watch_on_meta(trunk, (picture(backbone), []), note)
    return found


def run(trunk: nn.Module, height: int) -> list[Seen]:
    """Layers in the order in which they run, on an image of this height."""
    seen: list[Seen] = []

    def note(layer: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if isinstance(out, Tensor) and out.ndim == 4:
            seen.append(Seen(layer, args[0].shape[-2], out.shape[-2]))

    _watch_on_meta(trunk, (picture(trunk, height - _SIDE),), note)
    return seen


def bytes_of(module: nn.Module, maps: Tensor) -> int:
    """Bytes of the largest input and output that any one layer has at once, of these maps.

    As in the precision of the weights, also under autocast.
    """
    largest = 0

    def note(layer: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        nonlocal largest
        held = [t for t in (*args, out) if isinstance(t, Tensor)]
        largest = max(largest, sum(t.numel() * t.element_size() for t in held))

    weights = next(module.parameters(), maps)  # maps may be halved: autocast does not reach meta
    _watch_on_meta(module, (maps.to("meta", weights.dtype),), note)
    return largest


def picture(trunk: Any, longer: int = 0) -> Tensor:
    """An image (1, C, H, W) without values; its width divides by any stride.

    longer: pixels by which it is higher than wide.
    """
    first = next(m for m in trunk.modules() if isinstance(m, nn.Conv2d))
    shape, dtype = (1, first.in_channels, _SIDE + longer, _SIDE), first.weight.dtype
    return torch.empty(shape, dtype=dtype, device="meta")


def output_size(module: nn.Module, maps: Tensor) -> tuple[int, int]:
    """Height and width of what a module makes of these maps."""
    found = (0, 0)

    def note(layer: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        nonlocal found
        if layer is module:
            found = (out.shape[-2], out.shape[-1])

    handle = module.register_forward_hook(note)
    try:
        _watch_on_meta(module, (maps.to("meta"),), lambda *_: None)
    finally:
        handle.remove()
    return found


def _watch_on_meta(module: nn.Module, inputs: tuple[Any, ...], note: Callable[..., None]) -> Any:
    """What a module gives, run without computing anything, with a hook on each layer."""
    leaves = [m for m in module.modules() if not any(m.children())]
    handles = [leaf.register_forward_hook(note) for leaf in leaves]
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    modes = {m: m.training for m in module.modules()}
    try:
        module.eval()  # else statistics would be kept of nothing
        return functional_call(module, {name: t.to("meta") for name, t in tensors.items()}, inputs)
    finally:
        for each, mode in modes.items():
            each.training = mode
        for handle in handles:
            handle.remove()
