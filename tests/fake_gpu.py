"""A GPU that has devices and shapes but no numbers: torch's FakeTensorMode on `cuda`."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from fcnexp.nn.fast import eligibility

aten = torch.ops.aten


class FakeGpu(FakeTensorMode):
    """Raises RuntimeError if an operation mixes tensors on the CPU with those on the GPU.

    Values that Python reads are 0, and equal tensors are equal. waits: operations at which a GPU
    would make Python wait, since the mode was last asked.
    """

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)  # the sizes of images stay real
        self.found: list[str] = []

    def waits(self) -> list[str]:
        """Return the operations so far that wait for a GPU, and forget them."""
        found, self.found = self.found, []
        return found

    def dispatch(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default:
            self._note(func, args[0])
            return 0
        if func is aten.equal.default:
            self._note(func, *args)
            if args[0].device != args[1].device:
                raise RuntimeError(f"equal: {args[0].device} and {args[1].device}")
            return True
        if func is aten.bincount.default:
            self._note(func, args[0])  # it reads the largest value
            return args[0].new_empty(args[2], dtype=torch.int64)  # `minlength`
        if func in (aten._to_copy.default, aten.copy_.default):
            self._note_copy(func, args, kwargs)
        return super().dispatch(func, types, args, kwargs)

    def _note(self, func: Any, *tensors: Tensor) -> None:
        if any(each.is_cuda for each in tensors):
            self.found.append(str(func))

    def _note_copy(self, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Note a copy between host and GPU, unless it is asynchronous."""
        if func is aten.copy_.default:
            start, end = args[1].device, args[0].device
            asynchronous = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
        else:
            start, end = args[0].device, torch.device(kwargs.get("device") or args[0].device)
            asynchronous = kwargs.get("non_blocking", False)
        if {start.type, end.type} == {"cpu", "cuda"} and not asynchronous:
            self.found.append(f"{func} from {start.type} to {end.type}")


class Event:
    """A CUDA event without CUDA."""

    def __init__(self, **_: Any) -> None:
        pass

    def record(self) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, other: "Event") -> float:
        return 1.0


@contextlib.contextmanager
def fake_gpu() -> Iterator[FakeGpu]:
    """Return a mode in which `cuda` exists, without numbers; nets are built outside of it."""

    def numpy(tensor: FakeTensor) -> np.ndarray:
        if tensor.device.type != "cpu":
            raise TypeError(f"numpy: the tensor is on {tensor.device}")
        return np.zeros(tensor.shape, str(tensor.dtype).removeprefix("torch."))

    with (
        mock.patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False),
        mock.patch.object(torch.cuda, "Event", Event),
        mock.patch.object(FakeTensor, "numpy", numpy, create=True),
    ):
        try:
            yield FakeGpu()
        finally:
            eligibility._factors.cache_clear()  # holds tensors of this mode


def to_gpu(module: nn.Module) -> None:
    """Replace a module's parameters and buffers by fake ones on the GPU.

    Any other tensor that a layer holds stays where it is, as it would with `module.cuda()`.
    """
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    held[name] = moved(tensor)


def moved(tensor: Tensor) -> Tensor:
    """Return a fake tensor on the GPU like this one."""
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cuda")
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(made, requires_grad=tensor.requires_grad)
    return made


def backward(loss: Tensor) -> int:
    """Run the graph of a loss backwards; return the number of parameters with a gradient.

    torch's own engine opens a stream on the GPU, which needs one.
    """
    count: dict[Any, int] = {loss.grad_fn: 0}  # of the nodes that still have to run before each
    nodes = [loss.grad_fn]
    for node in nodes:
        for after, _ in node.next_functions:
            if after is not None:
                nodes += [after] * (after not in count)
                count[after] = count.get(after, 0) + 1
    given: dict[Any, dict[int, Tensor]] = {node: {} for node in nodes}
    given[loss.grad_fn] = {0: torch.ones_like(loss)}
    leaves = 0
    ready = [loss.grad_fn]
    while ready:
        node = ready.pop()
        for after, place, gradient in _run(node, given.pop(node)):
            if gradient is not None:
                assert gradient.is_cuda, f"{node.name()}: a gradient on {gradient.device}"
                known = given[after].get(place)
                given[after][place] = gradient if known is None else known + gradient
            count[after] -= 1
            ready += [after] * (count[after] == 0)
            if hasattr(after, "variable") and count[after] == 0 and given[after]:
                assert given[after][0].shape == after.variable.shape
                leaves += 1
    return leaves


def _run(node: Any, gradients: dict[int, Tensor]) -> list[tuple[Any, int, Tensor | None]]:
    """Run a node; return the nodes after it, their places, and the gradients for these."""
    if not node.next_functions:
        return []
    made: Any = None
    if gradients:
        run = node if callable(node) else node.apply  # of a custom function
        made = run(*[gradients.get(place) for place in range(max(gradients) + 1)])
    if not isinstance(made, tuple):
        made = (made,) + (None,) * (len(node.next_functions) - 1)
    return [
        (after, place, gradient)
        for (after, place), gradient in zip(node.next_functions, made, strict=False)
        if after is not None
    ]
