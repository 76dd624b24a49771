"""Switches of the fast paths. A fast path gives what plain code gives; disable it to compare.

A net's own file says what is computed. `nn/fast`, and a few places that ask `enabled`, say how.
This module imports torch only when it is needed: `config.checks` uses `plain` before that.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

FAST_PATHS = {
    "border": "VGG16's padding of 100 comes from small templates instead of a larger image",
    "packed": "scoring uses weights in the processor's own order, and ReLU in the convolution",
    "winograd": "3x3 convolutions of many channels with a quarter of the multiplications",
    "matrix": "convolutions with more weights than outputs, such as fc6, as matrix products",
    "norm": "response normalisation by square roots and a custom gradient, without pow",
    "upsampling": "fixed interpolation of each class alone, not mixed over pairs of classes",
    "mixed": "images of different sizes share passes, instead of going one by one",
    "interpolation": "training: fixed interpolation by matrices, of only the requested pixels",
}

_disabled: ContextVar[frozenset[str]] = ContextVar("disabled", default=frozenset())


def enabled(path: str) -> bool:
    """Return True if a fast path, a key of `FAST_PATHS`, may run.

    Always False within torch.func's transforms, which refuse functions with custom gradients.
    """
    import torch

    assert path in FAST_PATHS, path
    return path not in disabled() and not torch._C._are_functorch_transforms_active()


def disabled() -> frozenset[str]:
    """Return the names of the fast paths that are disabled now."""
    return _disabled.get()


@contextmanager
def plain(paths: Iterable[str] = ("all",)) -> Iterator[None]:
    """Disable `all` fast paths, or some of `FAST_PATHS`, in this context. Raises ValueError."""
    asked = frozenset(paths)
    if unknown := sorted(asked - {"all", *FAST_PATHS}):
        raise ValueError(
            f"no fast path is called {', '.join(unknown)}; allowed are all, {', '.join(FAST_PATHS)}"
        )
    token = _disabled.set(_disabled.get() | (frozenset(FAST_PATHS) if "all" in asked else asked))
    try:
        yield
    finally:
        _disabled.reset(token)
