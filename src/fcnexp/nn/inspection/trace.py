"""Trace of a net's maps by original name: size, position on the image, receptive field, cost.

The net runs once while torch's functions are traced, so the maps are those actually computed, for
any backbone, without a second description of the net that could be wrong.
"""

from dataclasses import replace
from math import ceil
from typing import Any

from torch import Tensor, nn

from fcnexp.nn.backbones.found import FoundTrunk
from fcnexp.nn.backbones.timm import TimmTrunk
from fcnexp.nn.backbones.torchvision import TorchvisionTrunk
from fcnexp.nn.deconvnet import DeconvNet
from fcnexp.nn.dense.interpolation import Interpolation
from fcnexp.nn.dense.shift_and_stitch import Stitch
from fcnexp.nn.dense.upsampling import Upsampling
from fcnexp.nn.fast.switches import FAST_PATHS, plain
from fcnexp.nn.fuse import Skip
from fcnexp.nn.geometry import IMAGE
from fcnexp.nn.inspection.function_tracer import (
    FunctionTracer,
    Handler,
    Map,
    Window,
    keep_map,
    shape,
)
from fcnexp.nn.layers import LocalResponseNorm
from fcnexp.nn.pooling import MaxPool, Unpool
from fcnexp.nn.streams import LateFusion, Network


def trace(net: Network, inputs: dict[str, Tensor], *, keep: bool = False) -> list[Map]:
    """Return the maps of one run in order of computation; keep: including their values.

    inputs: in network space (1, C, H, W) by field; on the meta device the run costs no memory.
    """
    tracer = FunctionTracer(net, _AFTER_FUNCTION, _AFTER_MODULE, keep=keep)
    for name, x in inputs.items():
        tracer.add_input(name, x)
    # Without fast paths, layers match the original nets' files; but the slow path of upsampling
    # builds a dense kernel, which has no name.
    with plain(set(FAST_PATHS) - {"upsampling"}), tracer.hooks(), tracer:
        net(inputs)
    return tracer.maps


# One handler for each torch function that the nets use, and for modules traced as one unit.


def _batch_norm(tracer: FunctionTracer, out: Tensor, args: tuple, kwargs: dict) -> None:
    source = tracer.source(args[0])
    source.parameters += sum(
        a.numel() for a in (*args, *kwargs.values()) if isinstance(a, nn.Parameter)
    )
    keep_map(tracer, out, args, kwargs)


def _conv(tracer: FunctionTracer, out: Tensor, args: tuple, kwargs: dict) -> None:
    source, weight = tracer.source(args[0]), args[1]
    rest: tuple[Any, ...] = (*args[2:], *(None, 1, 0, 1, 1)[len(args) - 2 :])
    bias, stride, pad, dilation, groups = rest
    stride, pad, dilation = (_one(n) for n in (stride, pad, dilation))
    kernel = (weight.shape[-1] - 1) * dilation + 1
    parameters = weight.numel() + (0 if bias is None else bias.numel())
    tracer.add(
        out,
        Map(
            tracer.layer_name(weight),
            "convolution",
            shape(out),
            source.grid.conv(kernel, stride, pad),
            source.receptive_field + (kernel - 1) * source.grid.step,
            source.depth + 1,
            parameters,
            out[0].numel() * weight[0].numel(),
            (source.name,),
            Window(kernel, stride, pad, groups, dilation),
            radius=source.radius + (kernel - 1) / 2 * source.grid.step,
        ),
    )


def _deconv(tracer: FunctionTracer, out: Tensor, args: tuple, kwargs: dict) -> None:
    source, weight = tracer.source(args[0]), args[1]
    stride = _one(kwargs.get("stride", args[3] if len(args) > 3 else 1))
    pad = _one(kwargs.get("padding", args[4] if len(args) > 4 else 0))
    kernel = weight.shape[-1]
    trained = [a for a in args[1:3] if isinstance(a, nn.Parameter)]
    tracer.add(
        out,
        Map(
            tracer.layer_name(weight),
            "transposed",
            shape(out),
            source.grid.deconv(kernel, stride, pad),
            source.receptive_field + (ceil(kernel / stride) - 1) * source.grid.step,
            source.depth + bool(trained),
            sum(p.numel() for p in trained),
            args[0][0].numel() * weight[0].numel(),
            (source.name,),
            Window(kernel, stride, pad),
            radius=source.radius + (kernel - 1) / 2 * source.grid.step / stride,
        ),
    )


def _torch_pool(tracer: FunctionTracer, out: Tensor, args: tuple, kwargs: dict) -> None:
    """Handle the pooling in torchvision's nets."""
    names = ("", "kernel_size", "stride", "padding", "dilation")
    named = dict(zip(names, args, strict=False)) | kwargs
    kernel, stride = _one(named["kernel_size"]), _one(named["stride"])
    dilation, pad = _one(named.get("dilation", 1)), _one(named.get("padding", 0))
    window = Window((kernel - 1) * dilation + 1, stride, pad, dilation=dilation)
    _add_pool(tracer, out, args[0], window)


def _max_pool(tracer: FunctionTracer, out: Tensor, args: tuple, kwargs: dict) -> None:
    pool: MaxPool = args[-1]
    window = Window(pool.window, pool.stride, pool.pad, dilation=pool.dilation)
    _add_pool(tracer, out, args[0], window)


def _add_pool(tracer: FunctionTracer, out: Tensor, maps: Tensor, window: Window) -> None:
    source = tracer.source(maps)
    name = tracer.inception_name("pool") or tracer.named_after("pool", source)
    grid = source.grid.conv(window.kernel, window.stride, window.pad)
    seen = source.receptive_field + (window.kernel - 1) * source.grid.step
    radius = source.radius + (window.kernel - 1) / 2 * source.grid.step
    wiring: dict[str, Any] = {"sources": (source.name,), "window": window, "radius": radius}
    tracer.add(out, Map(name, "max pooling", shape(out), grid, seen, source.depth, **wiring))


def _norm(tracer: FunctionTracer, out: Tensor, args: tuple, kwargs: dict) -> None:
    source = tracer.source(args[0])
    _add_like(tracer, out, source, name=tracer.named_after("norm", source), kind="norm")


def _unpool(tracer: FunctionTracer, out: Tensor, args: tuple, kwargs: dict) -> None:
    source, unpool = tracer.source(args[0]), args[-1]
    name = tracer.names.get(id(unpool)) or tracer.numbered("unpool")
    grid = source.grid.deconv(unpool.kernel, unpool.stride, unpool.pad)
    seen = source.receptive_field + (ceil(unpool.kernel / unpool.stride) - 1) * source.grid.step
    radius = source.radius + (unpool.kernel - 1) / 2 * grid.step
    changes = {"grid": grid, "receptive_field": seen, "radius": radius}
    _add_like(tracer, out, source, name=name, kind="unpooling", **changes)


def _found_trunk(tracer: FunctionTracer, out: dict, args: tuple, kwargs: dict) -> None:
    """Handle a trunk whose geometry was found: one map per tap, with all its layers in the last."""
    trunk: FoundTrunk = args[-1]
    source = tracer.source(args[0])
    tracer.running.append(trunk)  # what the count runs is no map of its own
    adds = trunk.multiply_adds((args[0].shape[-2], args[0].shape[-1]))
    tracer.running.pop()
    for stride, maps in out.items():
        deepest = stride == max(out)
        made = Map(
            f"stride{stride}{tracer.suffix()}",
            f"{type(trunk).__name__}, geometry found",
            shape(maps),
            trunk.taps[stride].grid,
            2 * trunk.radii[stride] + 1,
            trunk.depth(),
            sum(p.numel() for p in trunk.parameters()) if deepest else 0,
            adds if deepest else 0,
            (source.name,),
            radius=trunk.radii[stride],
        )
        tracer.add(maps, made)
    if trunk.mixing:  # of a fixed size: no window of an image has the image's scores
        tracer.maps.append(Map("whole image", " and ".join(trunk.mixing), (1, 1, 1), IMAGE, 1))


def _interpolation(tracer: FunctionTracer, out: Tensor, args: tuple, kwargs: dict) -> None:
    source = tracer.source(args[0])
    step = source.grid.step
    # A pixel that coincides with a cell gives its neighbours no weight.
    fraction = source.grid.origin % 1
    radius = source.radius + step - (min(fraction, 1 - fraction) or 1)
    changes = {"grid": IMAGE, "receptive_field": source.receptive_field + step, "radius": radius}
    _add_like(tracer, out, source, name="score", kind="bilinear", **changes)


def _stitch(tracer: FunctionTracer, out: Tensor, args: tuple, kwargs: dict) -> None:
    source, stitch = tracer.source(args[0]), args[-1]
    _add_like(tracer, out, source, name="stitched", kind=stitch.description, grid=stitch.grid)


def _add_like(tracer: FunctionTracer, out: Tensor, source: Map, **changes: Any) -> None:
    """Record a map that is computed from its source without a trained layer."""
    new: dict[str, Any] = {"shape": shape(out), "sources": (source.name,), "window": None}
    new |= {"offset": None, "parameters": 0, "multiply_adds": 0}
    tracer.add(out, replace(source, **(new | changes)))


def _join(tracer: FunctionTracer, out: Tensor, args: tuple, kwargs: dict) -> None:
    """Handle a sum or concatenation of maps on the same cells."""
    parts = tuple(args[0]) if isinstance(args[0], list | tuple) else args[:2]
    sources = [m for part in parts if (m := tracer.map(part))]
    if len(sources) < 2:  # a constant is added, or a single field is stacked
        keep_map(tracer, out, parts, kwargs)
        return
    kind = "concatenation" if isinstance(args[0], list | tuple) else "sum"
    _add_join(tracer, out, sources, kind)


def _maximum(tracer: FunctionTracer, out: Tensor, args: tuple, kwargs: dict) -> None:
    sources = [m for part in args[:2] if (m := tracer.map(part))]
    _add_join(tracer, out, sources, "maximum")


def _add_join(tracer: FunctionTracer, out: Tensor, sources: list[Map], kind: str) -> None:
    if {source.kind for source in sources} == {"input"}:
        name = "data"
    elif isinstance(skip := tracer.module(Skip), Skip):
        name = tracer.names[id(skip)]
    elif tracer.inside(LateFusion) and kind == "sum":
        name = "score_fused"
    else:
        name = tracer.inception_name("output") or tracer.numbered("sum")
    names = tuple(source.name for source in sources)
    largest = {
        key: max(getattr(source, key) for source in sources)
        for key in ("receptive_field", "depth", "radius")
    }
    _add_like(tracer, out, sources[0], name=name, kind=kind, sources=names, **largest)


def _scale(tracer: FunctionTracer, out: Tensor, args: tuple, kwargs: dict) -> None:
    source, skip = tracer.map(args[0]), tracer.module(Skip)
    if source is None or skip is None:
        tracer.set(out, source)  # a stream's weight: not a separate map in the original
        return
    name = tracer.names[id(skip)].replace("fuse", "scale", 1)
    _add_like(tracer, out, source, name=name, kind="constant")


def _crop(tracer: FunctionTracer, out: Tensor, args: tuple, kwargs: dict) -> None:
    source = tracer.map(args[0])
    if source is None or shape(out) == source.shape:
        keep_map(tracer, out, args, kwargs)
        return
    start = args[1][-2].start or 0
    final = not tracer.inside(Skip, DeconvNet)
    suffix = "" if tracer.inside(Upsampling) else tracer.suffix()
    name = "score" if final else f"{source.name.removesuffix(suffix)}c{suffix}"
    grid = source.grid.crop(start)
    _add_like(tracer, out, source, name=name, kind="crop", offset=start, grid=grid)


def _pad(tracer: FunctionTracer, out: Tensor, args: tuple, kwargs: dict) -> None:
    source, top = tracer.source(args[0]), args[1][2]
    name, grid = f"{source.name} padded", source.grid.crop(-top)
    _add_like(tracer, out, source, name=name, kind="padding", offset=-top, grid=grid)


_AFTER_FUNCTION: dict[str, Handler] = {
    "conv2d": _conv,
    "conv_transpose2d": _deconv,
    "max_pool2d": _torch_pool,
    "batch_norm": _batch_norm,
    "cat": _join,
    "add": _join,
    "add_": _join,
    "maximum": _maximum,
    "__getitem__": _crop,
    "pad": _pad,
    "mul": _scale,
}
_AFTER_MODULE: dict[type, Handler] = {
    LocalResponseNorm: _norm,
    MaxPool: _max_pool,
    Unpool: _unpool,
    Interpolation: _interpolation,
    Stitch: _stitch,
    TorchvisionTrunk: _found_trunk,
    TimmTrunk: _found_trunk,
}


def _one(number: Any) -> int:
    """The number that both axes share."""
    return int(number[0]) if isinstance(number, tuple | list) else int(number)
