"""Training in less memory: a block's maps are recomputed when the backward pass needs them."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import MethodType
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from fcnexp.nn.backbones.googlenet import Inception
from fcnexp.nn.fast.switches import disabled, plain
from fcnexp.nn.heads import FcHead


def recompute_blocks(net: nn.Module) -> int:
    """Make each block of a net store only its input in training; return the number of blocks.

    The backward pass runs each block once more with the same dropout, so gradients are the same to
    the bit; batch normalisation updates its statistics once. Blocks are VGG16's convolutions
    between poolings (`VGG16.block`), inception blocks, `nn.Sequential`s, and fc6 to fc7. Names in
    checkpoints do not change.
    """
    wrapped, inside = 0, set[int]()
    for module in net.modules():
        if id(module) in inside:
            continue
        # torchvision's MobileNetV3 has layers named block, which are no methods.
        method = "block" if hasattr(type(module), "block") else "forward"
        if method == "block" or isinstance(module, nn.Sequential | Inception | FcHead):
            setattr(module, method, _recomputed(module, method))
            wrapped += 1
            if method == "forward":
                inside |= {id(each) for each in module.modules()}
    return wrapped


def _recomputed(module: nn.Module, method: str) -> MethodType:
    """Return a checkpointed method, bound to its module so that a copy runs its own weights."""

    def call(self: nn.Module, maps: Tensor, *others: Any) -> Any:
        run = getattr(type(self), method)
        if not self.training:
            return run(self, maps, *others)
        norms = [each for each in self.modules() if isinstance(each, _BatchNorm)]
        paths = disabled()
        return checkpoint(
            run,
            self,
            maps,
            *others,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), _second_run(norms, paths)),
        )

    return MethodType(call, module)


@contextmanager
def _second_run(norms: list[_BatchNorm], paths: frozenset[str]) -> Iterator[None]:
    """Disable the first run's disabled fast paths, and freeze the running statistics."""
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm, _, tracked in before:
        norm.momentum = 0.0
        norm.num_batches_tracked = None if tracked is None else tracked.clone()
    try:
        with plain(paths):
            yield
    finally:
        for norm, momentum, tracked in before:
            norm.momentum, norm.num_batches_tracked = momentum, tracked
