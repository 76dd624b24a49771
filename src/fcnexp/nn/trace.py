"""Every map of a net by its original name: size, place on the image, receptive field, cost.

The net is run once while torch's functions are watched, so that what is told is what is computed,
for any backbone, without a second description of it that could be wrong.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import ceil
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fcnexp.nn.dense import FixedUpsampling
from fcnexp.nn.fuse import SkipSum
from fcnexp.nn.geometry import IMAGE
from fcnexp.nn.layers import LocalResponseNorm
from fcnexp.nn.maps import Map, Window
from fcnexp.nn.original import names_by_id
from fcnexp.nn.streams import LateFusion, Network


def trace(net: Network, inputs: dict[str, Tensor], *, keep: bool = False) -> list[Map]:
    """Maps of one run, in the order of computing. keep: with their values.

    inputs: in network space (1, C, H, W) by field; on the meta device it costs no memory.
    """
    watch = _Watch(net, keep)
    for name, x in inputs.items():
        watch.enter(name, x)
    with watch.hooks(), watch:
        net(inputs)
    return watch.maps


class _Watch(TorchFunctionMode):
    """Follows tensors through torch's functions; each carries its `Map`."""

    def __init__(self, net: Network, keep: bool) -> None:
        super().__init__()
        self.net, self.keep = net, keep
        self.maps: list[Map] = []
        self.of_tensor: dict[int, tuple[Tensor, Map]] = {}  # the tensor is held, so its id stays
        self.running: list[nn.Module] = []
        self.names, self.suffixes = names_by_id(net)
        self.counts: dict[str, int] = {}

    def enter(self, name: str, x: Tensor) -> None:
        self._add(x, Map(name, "input", _shape(x), IMAGE, 1))

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if isinstance(out, Tensor) and out.ndim == 4 and not self._inside(LocalResponseNorm):
            step = _STEPS.get(name, _Watch._same)
            step(self, out, args, kwargs or {})
        elif name == "split":
            for part in out:
                self._set(part, self._map(args[0]))
        return out

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Know which module runs, and take a normalisation as one step."""
        handles = []
        for module in self.net.modules():
            handles.append(module.register_forward_pre_hook(lambda m, _: self.running.append(m)))
            handles.append(module.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _leave(self, module: nn.Module, args: tuple, out: Any) -> None:
        self.running.pop()
        if isinstance(module, LocalResponseNorm):
            source = self._map(args[0])
            assert source is not None
            new = replace(source, name=self._after("norm", source), kind="norm", window=None)
            self._add(out, replace(new, parameters=0, multiply_adds=0, sources=(source.name,)))

    def _inside(self, kind: type) -> bool:
        return any(isinstance(module, kind) for module in self.running)

    def _module(self, kind: type) -> Any:
        return next((m for m in reversed(self.running) if isinstance(m, kind)), None)

    def _map(self, x: Any) -> Map | None:
        held = self.of_tensor.get(id(x))
        return held[1] if held else None

    def _set(self, x: Tensor, new: Map | None) -> None:
        if new is not None:
            self.of_tensor[id(x)] = (x, new)

    def _add(self, x: Tensor, new: Map) -> None:
        new.value = x if self.keep else None
        self.maps.append(new)
        self._set(x, new)

    def _suffix(self) -> str:
        return next((self.suffixes[id(m)] for m in self.running if id(m) in self.suffixes), "")

    def _numbered(self, kind: str) -> str:
        key = kind + self._suffix()
        self.counts[key] = self.counts.get(key, 0) + 1
        return f"{kind}{self.counts[key]}{self._suffix()}"

    def _after(self, kind: str, source: Map) -> str:
        """`pool5` behind conv5_3, `norm1` behind pool1: by the number of the layer before."""
        found = re.search(r"\d+", source.name)
        return f"{kind}{found[0]}{self._suffix()}" if found else self._numbered(kind)

    # One method for each function of torch that the nets use.

    def _same(self, out: Tensor, args: tuple, kwargs: dict) -> None:
        """Activation, dropout, normalisation, change of format: the map stays what it is."""
        source = next((m for a in args if (m := self._map(a))), None)
        if source is None:
            return
        if self.keep:
            source.value = out
        self._set(out, source)

    def _batch_norm(self, out: Tensor, args: tuple, kwargs: dict) -> None:
        source = self._map(args[0])
        assert source is not None
        source.parameters += sum(
            a.numel() for a in (*args, *kwargs.values()) if isinstance(a, nn.Parameter)
        )
        self._same(out, args, kwargs)

    def _conv(self, out: Tensor, args: tuple, kwargs: dict) -> None:
        source, weight = self._map(args[0]), args[1]
        assert source is not None
        rest: tuple[Any, ...] = (*args[2:], *(None, 1, 0, 1, 1)[len(args) - 2 :])
        bias, stride, pad, dilation, groups = rest
        stride, pad, dilation = (_one(n) for n in (stride, pad, dilation))
        kernel = (weight.shape[-1] - 1) * dilation + 1
        parameters = weight.numel() + (0 if bias is None else bias.numel())
        self._add(
            out,
            Map(
                self._layer_name(weight),
                "convolution",
                _shape(out),
                source.grid.conv(kernel, stride, pad),
                source.receptive_field + (kernel - 1) * source.grid.step,
                source.depth + 1,
                parameters,
                out[0].numel() * weight[0].numel(),
                (source.name,),
                Window(kernel, stride, pad, groups),
            ),
        )

    def _deconv(self, out: Tensor, args: tuple, kwargs: dict) -> None:
        source, weight = self._map(args[0]), args[1]
        assert source is not None
        stride = _one(kwargs.get("stride", args[3] if len(args) > 3 else 1))
        pad = _one(kwargs.get("padding", args[4] if len(args) > 4 else 0))
        kernel = weight.shape[-1]
        trained = [a for a in args[1:3] if isinstance(a, nn.Parameter)]
        self._add(
            out,
            Map(
                self._layer_name(weight),
                "transposed",
                _shape(out),
                source.grid.deconv(kernel, stride, pad),
                source.receptive_field + (ceil(kernel / stride) - 1) * source.grid.step,
                source.depth,
                sum(p.numel() for p in trained),
                args[0][0].numel() * weight[0].numel(),
                (source.name,),
                Window(kernel, stride, pad),
            ),
        )

    def _pool(self, out: Tensor, args: tuple, kwargs: dict) -> None:
        source = self._map(args[0])
        assert source is not None
        named = dict(zip(("", "kernel_size", "stride", "padding"), args, strict=False)) | kwargs
        kernel, stride = _one(named["kernel_size"]), _one(named["stride"])
        pad = _one(named.get("padding", 0))
        name = self._inception("pool") or self._after("pool", source)
        grid = source.grid.conv(kernel, stride, pad)
        seen = source.receptive_field + (kernel - 1) * source.grid.step
        new = Map(name, "max pooling", _shape(out), grid, seen, source.depth)
        self._add(out, replace(new, sources=(source.name,), window=Window(kernel, stride, pad)))

    def _join(self, out: Tensor, args: tuple, kwargs: dict) -> None:
        """Sum or concatenation of maps that lie on the same cells."""
        parts = tuple(args[0]) if isinstance(args[0], list | tuple) else args[:2]
        sources = [m for part in parts if (m := self._map(part))]
        if len(sources) < 2:  # a constant is added, or fields are stacked that are the image
            self._same(out, parts, kwargs)
            return
        kind = "concatenation" if isinstance(args[0], list | tuple) else "sum"
        names = [source.name for source in sources]
        if {source.kind for source in sources} == {"input"}:
            name = "data"
        elif isinstance(skip := self._module(SkipSum), SkipSum):
            name = self.names[id(skip)]
        elif self._inside(LateFusion) and kind == "sum":
            name = "score_fused"
        else:
            name = self._inception("output") or self._numbered("sum")
        self._add(
            out,
            Map(
                name,
                kind,
                _shape(out),
                sources[0].grid,
                max(source.receptive_field for source in sources),
                max(source.depth for source in sources),
                sources=tuple(names),
            ),
        )

    def _scale(self, out: Tensor, args: tuple, kwargs: dict) -> None:
        source, skip = self._map(args[0]), self._module(SkipSum)
        if source is None or skip is None:
            self._set(out, source)  # a stream's weight: no map of its own in the original
            return
        name = self.names[id(skip)].replace("fuse", "scale", 1)
        new = replace(source, name=name, kind="constant", window=None)
        new.parameters = new.multiply_adds = 0
        self._add(out, replace(new, shape=_shape(out), sources=(source.name,)))

    def _crop(self, out: Tensor, args: tuple, kwargs: dict) -> None:
        source = self._map(args[0])
        if source is None or _shape(out) == source.shape:
            self._same(out, args, kwargs)
            return
        start = args[1][-2].start or 0
        upsampling = self._module(FixedUpsampling)
        final = not self._inside(SkipSum)
        name = "score" if final else f"{_without(source.name, self._suffix())}c{self._suffix()}"
        if upsampling is not None and not final:
            name = f"{source.name}c"
        new = replace(source, name=name, kind="crop", shape=_shape(out), window=None, offset=start)
        new.grid, new.sources = source.grid.crop(start), (source.name,)
        new.parameters = new.multiply_adds = 0
        self._add(out, new)

    def _pad(self, out: Tensor, args: tuple, kwargs: dict) -> None:
        source = self._map(args[0])
        assert source is not None
        top = args[1][2]
        new = replace(source, name=f"{source.name} padded", kind="padding", offset=-top)
        new.grid, new.shape, new.sources = source.grid.crop(-top), _shape(out), (source.name,)
        new.window = None
        new.parameters = new.multiply_adds = 0
        self._add(out, new)

    def _layer_name(self, weight: Tensor) -> str:
        return self.names.get(id(weight)) or self._numbered("conv")

    def _inception(self, what: str) -> str | None:
        """Name after the inception block that runs, if one does."""
        for module in reversed(self.running):
            if id(module) in self.names and not isinstance(module, SkipSum):
                return f"{self.names[id(module)]}/{what}"
        return None


_STEPS: dict[str, Callable[[_Watch, Tensor, tuple, dict], None]] = {
    "conv2d": _Watch._conv,
    "conv_transpose2d": _Watch._deconv,
    "max_pool2d": _Watch._pool,
    "batch_norm": _Watch._batch_norm,
    "cat": _Watch._join,
    "add": _Watch._join,
    "add_": _Watch._join,
    "__getitem__": _Watch._crop,
    "pad": _Watch._pad,
    "mul": _Watch._scale,
}


def _shape(x: Tensor) -> tuple[int, int, int]:
    return x.shape[1], x.shape[2], x.shape[3]


def _one(number: Any) -> int:
    """The one number that both axes share."""
    return int(number[0]) if isinstance(number, tuple | list) else int(number)


def _without(name: str, suffix: str) -> str:
    return name.removesuffix(suffix) if suffix else name
