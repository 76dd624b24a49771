"""Which fast ways are taken. Each gives what the plain one gives, and may be left out to compare.

A net's own file says what is computed; `nn/fast` and a few places that ask `taken` say how.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

WAYS = {
    "border": "VGG16's pad of 100 is computed from small templates, not as part of the image",
    "packed": "scoring runs on weights in the processor's own order, with ReLU in the convolution",
    "winograd": "3x3 convolutions of many channels with a quarter of the multiplications",
    "matrix": "convolutions with more weights than outputs, fc6 above all, as products of matrices",
    "norm": "response normalisation by square roots and its own gradient, without pow",
    "upsampling": "fixed interpolation of each class by itself, not mixed over pairs of classes",
    "interpolation": "training: fixed interpolation by matrices, of just the pixels asked for",
}

_left_out: ContextVar[frozenset[str]] = ContextVar("left_out", default=frozenset())


def taken(way: str) -> bool:
    """Whether a fast way is to be taken; see `WAYS`. None is within torch.func's transforms."""
    import torch  # not above: configs are checked by this file before torch is needed

    assert way in WAYS, way
    # Private; they refuse functions with gradients of their own.
    return way not in left_out() and not torch._C._are_functorch_transforms_active()


def left_out() -> frozenset[str]:
    """The fast ways that are left out now."""
    return _left_out.get()


@contextmanager
def plain(ways: Iterable[str] = ("all",)) -> Iterator[None]:
    """Leave out these fast ways: `all` of them, or some of `WAYS`. Raises ValueError."""
    asked = frozenset(ways)
    if unknown := sorted(asked - {"all", *WAYS}):
        raise ValueError(f"{', '.join(unknown)}: allowed are all, {', '.join(WAYS)}")
    token = _left_out.set(_left_out.get() | (frozenset(WAYS) if "all" in asked else asked))
    try:
        yield
    finally:
        _left_out.reset(token)
