"""Estimate of the memory that a net's maps take, from a run on the meta device."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(run: Callable[[], object]) -> int:
    """Peak of the total bytes of live tensors during a run on the meta device.

    Tensors created before the run are not counted. A convolution is counted with a second copy of
    its filters in another layout (411 MB for VGG16's fc6 on a CPU), a transposed convolution also
    with a copy of its maps.
    """
    # Not inference_mode, which hides the operations that max pooling consists of on a CPU.
    with torch.no_grad(), torch.device("meta"), _Live() as live:
        run()
    return live.peak


class _Live(TorchDispatchMode):
    """Records the largest number of live bytes after any operation."""

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
