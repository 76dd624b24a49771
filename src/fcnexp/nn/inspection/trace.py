"""Every map of a net by its original name: size, place on the image, receptive field, cost.

The net is run once while torch's functions are watched, so that what is told is what is computed,
for any backbone, without a second description of it that could be wrong.
"""

from dataclasses import replace
from math import ceil
from typing import Any

from torch import Tensor, nn

from fcnexp.nn.deconvnet import DeconvNet
from fcnexp.nn.dense.interpolation import Interpolation
from fcnexp.nn.dense.shift_and_stitch import Stitch
from fcnexp.nn.dense.upsampling import Upsampling
from fcnexp.nn.fast.switches import FAST_PATHS, plain
from fcnexp.nn.fuse import Skip
from fcnexp.nn.geometry import IMAGE
from fcnexp.nn.inspection.feature_map import Map, Window
from fcnexp.nn.inspection.function_tracer import Step, Watch, same, shape
from fcnexp.nn.layers import LocalResponseNorm
from fcnexp.nn.pooling import MaxPool, Unpool
from fcnexp.nn.streams import LateFusion, Network


def trace(net: Network, inputs: dict[str, Tensor], *, keep: bool = False) -> list[Map]:
    """Maps of one run, in the order of computing. keep: with their values.

    inputs: in network space (1, C, H, W) by field; on the meta device it costs no memory.
    """
    watch = Watch(net, _STEPS, _WHOLE, keep=keep)
    for name, x in inputs.items():
        watch.enter(name, x)
    # As the nets' own files say; but a kernel over pairs of classes would be one without a name.
    with plain(set(FAST_PATHS) - {"upsampling"}), watch.hooks(), watch:
        net(inputs)
    return watch.maps


# One function for each function of torch that the nets use, and for modules told as a whole.


def _batch_norm(watch: Watch, out: Tensor, args: tuple, kwargs: dict) -> None:
    source = watch.map(args[0])
    assert source is not None
    source.parameters += sum(
        a.numel() for a in (*args, *kwargs.values()) if isinstance(a, nn.Parameter)
    )
    same(watch, out, args, kwargs)


def _conv(watch: Watch, out: Tensor, args: tuple, kwargs: dict) -> None:
    source, weight = watch.map(args[0]), args[1]
    assert source is not None
    rest: tuple[Any, ...] = (*args[2:], *(None, 1, 0, 1, 1)[len(args) - 2 :])
    bias, stride, pad, dilation, groups = rest
    stride, pad, dilation = (_one(n) for n in (stride, pad, dilation))
    kernel = (weight.shape[-1] - 1) * dilation + 1
    parameters = weight.numel() + (0 if bias is None else bias.numel())
    watch.add(
        out,
        Map(
            watch.layer_name(weight),
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


def _deconv(watch: Watch, out: Tensor, args: tuple, kwargs: dict) -> None:
    source, weight = watch.map(args[0]), args[1]
    assert source is not None
    stride = _one(kwargs.get("stride", args[3] if len(args) > 3 else 1))
    pad = _one(kwargs.get("padding", args[4] if len(args) > 4 else 0))
    kernel = weight.shape[-1]
    trained = [a for a in args[1:3] if isinstance(a, nn.Parameter)]
    watch.add(
        out,
        Map(
            watch.layer_name(weight),
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


def _torch_pool(watch: Watch, out: Tensor, args: tuple, kwargs: dict) -> None:
    """Pooling of torchvision's nets."""
    names = ("", "kernel_size", "stride", "padding", "dilation")
    named = dict(zip(names, args, strict=False)) | kwargs
    kernel, stride = _one(named["kernel_size"]), _one(named["stride"])
    dilation, pad = _one(named.get("dilation", 1)), _one(named.get("padding", 0))
    window = Window((kernel - 1) * dilation + 1, stride, pad, dilation=dilation)
    _add_pool(watch, out, args[0], window)


def _max_pool(watch: Watch, out: Tensor, args: tuple, kwargs: dict) -> None:
    pool: MaxPool = args[-1]
    _add_pool(
        watch, out, args[0], Window(pool.window, pool.stride, pool.pad, dilation=pool.dilation)
    )


def _add_pool(watch: Watch, out: Tensor, maps: Tensor, window: Window) -> None:
    source = watch.map(maps)
    assert source is not None
    name = watch.inception("pool") or watch.after("pool", source)
    grid = source.grid.conv(window.kernel, window.stride, window.pad)
    seen = source.receptive_field + (window.kernel - 1) * source.grid.step
    new = Map(name, "max pooling", shape(out), grid, seen, source.depth)
    new.radius = source.radius + (window.kernel - 1) / 2 * source.grid.step
    watch.add(out, replace(new, sources=(source.name,), window=window))


def _norm(watch: Watch, out: Tensor, args: tuple, kwargs: dict) -> None:
    source = watch.map(args[0])
    assert source is not None
    _add_like(watch, out, source, name=watch.after("norm", source), kind="norm")


def _unpool(watch: Watch, out: Tensor, args: tuple, kwargs: dict) -> None:
    source, unpool = watch.map(args[0]), args[-1]
    assert source is not None
    name = watch.names.get(id(unpool)) or watch.numbered("unpool")
    grid = source.grid.deconv(unpool.kernel, unpool.stride, unpool.pad)
    seen = source.receptive_field + (ceil(unpool.kernel / unpool.stride) - 1) * source.grid.step
    radius = source.radius + (unpool.kernel - 1) / 2 * grid.step
    changes = {"grid": grid, "receptive_field": seen, "radius": radius}
    _add_like(watch, out, source, name=name, kind="unpooling", **changes)


def _interpolation(watch: Watch, out: Tensor, args: tuple, kwargs: dict) -> None:
    source = watch.map(args[0])
    assert source is not None
    step = source.grid.step
    between = source.grid.origin % 1  # of a pixel: so far from a cell the next one's share is 0
    radius = source.radius + step - (min(between, 1 - between) or 1)
    changes = {"grid": IMAGE, "receptive_field": source.receptive_field + step, "radius": radius}
    _add_like(watch, out, source, name="score", kind="bilinear", **changes)


def _stitch(watch: Watch, out: Tensor, args: tuple, kwargs: dict) -> None:
    source, stitch = watch.map(args[0]), args[-1]
    assert source is not None
    _add_like(watch, out, source, name="stitched", kind=stitch.description, grid=stitch.grid)


def _add_like(watch: Watch, out: Tensor, source: Map, **changes: Any) -> None:
    """Tell of a map that no trained layer makes from its source."""
    new = replace(source, shape=shape(out), sources=(source.name,), window=None)
    new.parameters = new.multiply_adds = 0
    watch.add(out, replace(new, **changes))


def _join(watch: Watch, out: Tensor, args: tuple, kwargs: dict) -> None:
    """Sum or concatenation of maps that lie on the same cells."""
    parts = tuple(args[0]) if isinstance(args[0], list | tuple) else args[:2]
    sources = [m for part in parts if (m := watch.map(part))]
    if len(sources) < 2:  # a constant is added, or fields are stacked that are the image
        same(watch, out, parts, kwargs)
        return
    kind = "concatenation" if isinstance(args[0], list | tuple) else "sum"
    _add_join(watch, out, sources, kind)


def _maximum(watch: Watch, out: Tensor, args: tuple, kwargs: dict) -> None:
    sources = [m for part in args[:2] if (m := watch.map(part))]
    _add_join(watch, out, sources, "maximum")


def _add_join(watch: Watch, out: Tensor, sources: list[Map], kind: str) -> None:
    names = [source.name for source in sources]
    if {source.kind for source in sources} == {"input"}:
        name = "data"
    elif isinstance(skip := watch.module(Skip), Skip):
        name = watch.names[id(skip)]
    elif watch.inside(LateFusion) and kind == "sum":
        name = "score_fused"
    else:
        name = watch.inception("output") or watch.numbered("sum")
    watch.add(
        out,
        Map(
            name,
            kind,
            shape(out),
            sources[0].grid,
            max(source.receptive_field for source in sources),
            max(source.depth for source in sources),
            sources=tuple(names),
            radius=max(source.radius for source in sources),
        ),
    )


def _scale(watch: Watch, out: Tensor, args: tuple, kwargs: dict) -> None:
    source, skip = watch.map(args[0]), watch.module(Skip)
    if source is None or skip is None:
        watch.set(out, source)  # a stream's weight: no map of its own in the original
        return
    name = watch.names[id(skip)].replace("fuse", "scale", 1)
    new = replace(source, name=name, kind="constant", window=None)
    new.parameters = new.multiply_adds = 0
    watch.add(out, replace(new, shape=shape(out), sources=(source.name,)))


def _crop(watch: Watch, out: Tensor, args: tuple, kwargs: dict) -> None:
    source = watch.map(args[0])
    if source is None or shape(out) == source.shape:
        same(watch, out, args, kwargs)
        return
    start = args[1][-2].start or 0
    upsampling = watch.module(Upsampling)
    final = not watch.inside(Skip, DeconvNet)
    name = "score" if final else f"{_without(source.name, watch.suffix())}c{watch.suffix()}"
    if upsampling is not None and not final:
        name = f"{source.name}c"
    new = replace(source, name=name, kind="crop", shape=shape(out), window=None, offset=start)
    new.grid, new.sources = source.grid.crop(start), (source.name,)
    new.parameters = new.multiply_adds = 0
    watch.add(out, new)


def _pad(watch: Watch, out: Tensor, args: tuple, kwargs: dict) -> None:
    source = watch.map(args[0])
    assert source is not None
    top = args[1][2]
    new = replace(source, name=f"{source.name} padded", kind="padding", offset=-top)
    new.grid, new.shape, new.sources = source.grid.crop(-top), shape(out), (source.name,)
    new.window = None
    new.parameters = new.multiply_adds = 0
    watch.add(out, new)


_STEPS: dict[str, Step] = {
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
_WHOLE: dict[type, Step] = {
    LocalResponseNorm: _norm,
    MaxPool: _max_pool,
    Unpool: _unpool,
    Interpolation: _interpolation,
    Stitch: _stitch,
}


def _one(number: Any) -> int:
    """The one number that both axes share."""
    return int(number[0]) if isinstance(number, tuple | list) else int(number)


def _without(name: str, suffix: str) -> str:
    return name.removesuffix(suffix) if suffix else name
