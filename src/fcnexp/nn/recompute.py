"""Training in less memory: a block's maps are computed anew when its gradient is wanted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from fcnexp.nn.backbones.googlenet import Inception
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
            setattr(module, way, _recomputed(getattr(module, way), module))
            wrapped += 1
            if way == "forward":
                inside |= {id(each) for each in module.modules()}
    return wrapped


def _recomputed(run: Callable[..., Any], module: nn.Module) -> Callable[..., Any]:
    norms = [each for each in module.modules() if isinstance(each, _BatchNorm)]

    def call(maps: Tensor, *others: Any) -> Any:
        if not module.training:
            return run(maps, *others)
        return checkpoint(
            run,
            maps,
            *others,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), _counted_before(norms)),
        )

    return call


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
