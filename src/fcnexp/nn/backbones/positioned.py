"""Tensors that hold positions on the image, and the state of a run; see `positions`."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor

EXACT = 1e-6  # pixels; float64 rounding is smaller, distances between paths are larger


class Run(NamedTuple):
    """State of a run, and what was found about the net.

    ends: keep the lowest position that a cell depends on, else the cell's own. mixing: parts that
    see the whole image. apart: distances in pixels between paths that met. call: the
    rules, given a function of torch and its arguments.
    """

    ends: bool
    mixing: set[str]
    apart: list[float]
    call: Callable[[Callable, tuple, dict], Any]


running: ContextVar[Run] = ContextVar("running")


class Positions(Tensor):
    """A map that holds positions in pixels; see `run_on_positions` for its entries."""

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if getattr(func, "__name__", "").startswith("new_"):  # a mask, say: no positions
                return func(*args, **kwargs)
            return _wrapped(running.get().call(func, args, kwargs))


def _wrapped(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype == torch.float64:
        return value.as_subclass(Positions)
    if type(value) in (list, tuple):
        return type(value)(map(_wrapped, value))
    return value
