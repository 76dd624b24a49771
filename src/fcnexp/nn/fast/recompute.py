"""Training in less memory: a block's maps are computed anew when its gradient is wanted."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import MethodType
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from fcnexp.nn.backbones.googlenet import Inception
from fcnexp.nn.fast.switches import left_out, plain
from fcnexp.nn.heads import FcHead


def recompute_blocks(net: nn.Module) -> int:
    """Make each block of a net keep its input only; returns how many blocks there are.

    In training a block runs once more in the backward pass, with the same dropout, so that the
    gradient is the same to the bit; batch normalisation counts its images once. Blocks are VGG16's
    between poolings (`VGG16.block`), inception blocks, sequences of layers, and fc6 to fc7. Names
    in a checkpoint stay.
    """
    wrapped, inside = 0, set[int]()
    for module in net.modules():
        if id(module) in inside:
            continue
        way = "block" if hasattr(module, "block") else "forward"
        if way == "block" or isinstance(module, nn.Sequential | Inception | FcHead):
            setattr(module, way, _recomputed(module, way))
            wrapped += 1
            if way == "forward":
                inside |= {id(each) for each in module.modules()}
    return wrapped


def _recomputed(module: nn.Module, way: str) -> MethodType:
    """A module's way of running, bound to it: a copy of the module then runs itself."""

    def call(self: nn.Module, maps: Tensor, *others: Any) -> Any:
        run = getattr(type(self), way)
        if not self.training:
            return run(self, maps, *others)
        norms = [each for each in self.modules() if isinstance(each, _BatchNorm)]
        ways = left_out()
        return checkpoint(
            run,
            self,
            maps,
            *others,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), _again(norms, ways)),
        )

    return MethodType(call, module)


@contextmanager
def _again(norms: list[_BatchNorm], ways: frozenset[str]) -> Iterator[None]:
    """A block's second run: by the same ways as its first; it counts no images."""
    with _counted_before(norms), plain(ways):
        yield


@contextmanager
def _counted_before(norms: list[_BatchNorm]) -> Iterator[None]:
    """Within it, batch normalisation leaves its running statistics as they are."""
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm, _, tracked in before:
        norm.momentum = 0.0
        norm.num_batches_tracked = None if tracked is None else tracked.clone()
    try:
        yield
    finally:
        for norm, momentum, tracked in before:
            norm.momentum, norm.num_batches_tracked = momentum, tracked
