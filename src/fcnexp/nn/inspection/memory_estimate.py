"""How much memory a net's maps take, from a run of shapes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def footprint(run: Callable[[], object]) -> int:
    """Bytes of all tensors that live at once in the worst moment of a run on the meta device.

    Tensors made before are not counted. A convolution may hold its filters a second time, in a
    layout that suits it (on a CPU VGG16's fc6 takes 411 MB so), a transposed one its maps, too.
    """
    # Not inference_mode, which hides what a CPU's operations, such as max pooling, consist of.
    with torch.no_grad(), torch.device("meta"), _Live() as live:
        run()
    return live.peak


class _Live(TorchDispatchMode):
    """Counts the bytes that live behind each operation."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self.held: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in _tensors(out):
            storage = tensor.untyped_storage()
            reference = StorageWeakRef(storage)
            self.held.setdefault(reference.cdata, (reference, storage.nbytes()))
        self.held = {key: held for key, held in self.held.items() if not held[0].expired()}
        now = sum(size for _, size in self.held.values())
        if func.__name__.split(".")[0] == "convolution":
            transposed = args[6]
            now += _bytes(args[1]) + transposed * (_bytes(args[0]) + _bytes(out))
        self.peak = max(self.peak, now)
        return out


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
