"""A watch over torch's functions while a net runs: which tensor is which map, under which name."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fcnexp.nn.fuse import Skip
from fcnexp.nn.geometry import IMAGE
from fcnexp.nn.inspection.feature_map import Map
from fcnexp.nn.streams import Network
from fcnexp.nn.weights.caffe_names import names_by_id

Step = Callable[["Watch", Any, tuple, dict], None]


class Watch(TorchFunctionMode):
    """Follows tensors through torch's functions; each carries its `Map`.

    steps: what to do after one of torch's functions, by its name; whole: after a module whose
    insides are not told, by its class. Each takes this watch, the output, and the arguments.
    """

    def __init__(
        self, net: Network, steps: dict[str, Step], whole: dict[type, Step], *, keep: bool
    ) -> None:
        super().__init__()
        self.net, self.steps, self.whole, self.keep = net, steps, whole, keep
        self.maps: list[Map] = []
        self.of_tensor: dict[int, tuple[Tensor, Map]] = {}  # the tensor is held, so its id stays
        self.running: list[nn.Module] = []
        self.names, self.suffixes = names_by_id(net)
        self.counts: dict[str, int] = {}

    def enter(self, name: str, x: Tensor) -> None:
        """A field of the input."""
        self.add(x, Map(name, "input", shape(x), IMAGE, 1))

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if self.inside(*self.whole):  # a module in `whole`
            return out
        if isinstance(out, Tensor) and out.ndim == 4:
            self.steps.get(name, same)(self, out, args, kwargs or {})
        elif name == "split":
            for part in out:
                self.set(part, self.map(args[0]))
        return out

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Know which module runs."""
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
        if type(module) in self.whole and not self.inside(*self.whole):
            self.whole[type(module)](self, out, (*args, module), {})

    def inside(self, *kinds: type) -> bool:
        """Whether a module of one of these classes runs."""
        return any(isinstance(module, kinds) for module in self.running)

    def module(self, kind: type) -> Any:
        """The innermost running module of this class, or None."""
        return next((m for m in reversed(self.running) if isinstance(m, kind)), None)

    def map(self, x: Any) -> Map | None:
        """What is known of a tensor."""
        held = self.of_tensor.get(id(x))
        return held[1] if held else None

    def set(self, x: Tensor, new: Map | None) -> None:
        """Let a tensor stand for a map that is known."""
        if new is not None:
            self.of_tensor[id(x)] = (x, new)

    def add(self, x: Tensor, new: Map) -> None:
        """Tell of a new map, whose values a tensor holds."""
        new.value = x if self.keep else None
        self.maps.append(new)
        self.set(x, new)

    def suffix(self) -> str:
        """What names end in, of the stream that runs."""
        return next((self.suffixes[id(m)] for m in self.running if id(m) in self.suffixes), "")

    def numbered(self, kind: str) -> str:
        """`sum1`, `sum2` ..."""
        key = kind + self.suffix()
        self.counts[key] = self.counts.get(key, 0) + 1
        return f"{kind}{self.counts[key]}{self.suffix()}"

    def after(self, kind: str, source: Map) -> str:
        """`pool5` behind conv5_3, `norm1` behind pool1: by the number of the layer before."""
        found = re.search(r"\d+", source.name)
        return f"{kind}{found[0]}{self.suffix()}" if found else self.numbered(kind)

    def layer_name(self, weight: Tensor) -> str:
        """Original name of the layer with this weight, or a number."""
        return self.names.get(id(weight)) or self.numbered("conv")

    def inception(self, what: str) -> str | None:
        """Name after the inception block that runs, if one does."""
        for module in reversed(self.running):
            if id(module) in self.names and not isinstance(module, Skip):
                return f"{self.names[id(module)]}/{what}"
        return None


def same(watch: Watch, out: Tensor, args: tuple, kwargs: dict) -> None:
    """Activation, dropout, normalisation, change of format: the map stays what it is."""
    source = next((m for a in args if (m := watch.map(a))), None)
    if source is None:
        return
    if watch.keep:
        source.value = out
    watch.set(out, source)


def shape(x: Tensor) -> tuple[int, int, int]:
    """Channels, height and width of a map."""
    return x.shape[1], x.shape[2], x.shape[3]
