"""Tracer of torch's functions that knows which tensor is which feature map of a running net."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fcnexp.nn.fuse import Skip
from fcnexp.nn.geometry import IMAGE, Grid
from fcnexp.nn.streams import Network
from fcnexp.nn.weights.caffe_names import original_names


class Window(NamedTuple):
    """Window of a convolution or pooling; kernel: its size in cells, including dilation."""

    kernel: int
    stride: int
    pad: int
    groups: int = 1
    dilation: int = 1


@dataclass
class Map:
    """Feature map of a net.

    shape: channels, height, width. grid: positions of its cells on the image. receptive_field:
    pixels that a cell depends on, along one axis. depth: trained convolutions on the longest path
    to it. parameters, multiply_adds: of the layer that computes it. window: of a convolution or
    pooling. offset: number of leading cells that a crop removes. radius: largest distance in pixels
    from a cell to a pixel that it depends on; unlike half the receptive field, it also holds for
    interpolated cells. value: tensor (N, C, H, W) after activation, if the trace keeps values.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    grid: Grid
    receptive_field: float
    depth: int = 0
    parameters: int = 0
    multiply_adds: int = 0
    sources: tuple[str, ...] = ()
    window: Window | None = None
    offset: int | None = None
    radius: float = 0.0
    value: Tensor | None = field(default=None, repr=False)


Handler = Callable[["FunctionTracer", Any, tuple, dict], None]


class FunctionTracer(TorchFunctionMode):
    """Follows tensors through torch's functions and assigns a `Map` to each.

    after_function: handlers of torch's functions, by function name; after_module: handlers of
    modules that are traced as one unit, by class. Handlers take this tracer, the output, and the
    positional and keyword arguments. keep: store each map's values.
    """

    def __init__(
        self,
        net: Network,
        after_function: dict[str, Handler],
        after_module: dict[type, Handler],
        *,
        keep: bool,
    ) -> None:
        super().__init__()
        self.net, self.keep = net, keep
        self.after_function, self.after_module = after_function, after_module
        self.maps: list[Map] = []
        self.of_tensor: dict[int, tuple[Tensor, Map]] = {}  # holding the tensor keeps its id valid
        self.running: list[nn.Module] = []
        self.names, self.suffixes = original_names(net)
        self.counts: dict[str, int] = {}

    def add_input(self, name: str, x: Tensor) -> None:
        """Record a field of the net's input."""
        self.add(x, Map(name, "input", shape(x), IMAGE, 1))

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if self.inside(*self.after_module):
            return out
        if isinstance(out, Tensor) and out.ndim == 4:
            self.after_function.get(name, keep_map)(self, out, args, kwargs or {})
        elif name == "split":
            for part in out:
                self.set(part, self.map(args[0]))
        return out

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Track running modules with hooks, which are removed at the end."""
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
        if type(module) in self.after_module and not self.inside(*self.after_module):
            self.after_module[type(module)](self, out, (*args, module), {})

    def inside(self, *kinds: type) -> bool:
        """True if a module of one of these classes is running."""
        return any(isinstance(module, kinds) for module in self.running)

    def module(self, kind: type) -> Any:
        """The innermost running module of this class, or None."""
        return next((m for m in reversed(self.running) if isinstance(m, kind)), None)

    def map(self, x: Any) -> Map | None:
        """The map that a tensor holds, or None."""
        held = self.of_tensor.get(id(x))
        return held[1] if held else None

    def source(self, x: Any) -> Map:
        """The map that a tensor is known to hold."""
        found = self.map(x)
        assert found is not None
        return found

    def set(self, x: Tensor, new: Map | None) -> None:
        """Associate a tensor with a known map."""
        if new is not None:
            self.of_tensor[id(x)] = (x, new)

    def add(self, x: Tensor, new: Map) -> None:
        """Record a new map and the tensor that holds its values."""
        new.value = x if self.keep else None
        self.maps.append(new)
        self.set(x, new)

    def suffix(self) -> str:
        """Suffix of names in the running stream."""
        return next((self.suffixes[id(m)] for m in self.running if id(m) in self.suffixes), "")

    def numbered(self, kind: str) -> str:
        """Name with the next number: `sum1`, `sum2` ..."""
        key = kind + self.suffix()
        self.counts[key] = self.counts.get(key, 0) + 1
        return f"{kind}{self.counts[key]}{self.suffix()}"

    def named_after(self, kind: str, source: Map) -> str:
        """Name with the number of the source layer: `pool5` after conv5_3, `norm1` after pool1."""
        found = re.search(r"\d+", source.name)
        return f"{kind}{found[0]}{self.suffix()}" if found else self.numbered(kind)

    def layer_name(self, weight: Tensor) -> str:
        """Original name of the layer with this weight, or a numbered name."""
        return self.names.get(id(weight)) or self.numbered("conv")

    def inception_name(self, part: str) -> str | None:
        """Name of a part of the running inception block; None if no such block is running."""
        for module in reversed(self.running):
            if id(module) in self.names and not isinstance(module, Skip):
                return f"{self.names[id(module)]}/{part}"
        return None


def keep_map(tracer: FunctionTracer, out: Tensor, args: tuple, kwargs: dict) -> None:
    """Handle activation, dropout, normalisation and format changes: the map stays the same."""
    source = next((m for a in args if (m := tracer.map(a))), None)
    if source is None:
        return
    if tracer.keep:
        source.value = out
    tracer.set(out, source)


def shape(x: Tensor) -> tuple[int, int, int]:
    """Channels, height and width of a map."""
    return x.shape[1], x.shape[2], x.shape[3]
