"""What every convolutional trunk promises: maps keyed by stride, and where their cells lie."""

from typing import NamedTuple, Protocol

from torch import Tensor, nn

from fcnexp.nn.geometry import Grid


class Tap(NamedTuple):
    """A map that the trunk hands out."""

    channels: int
    grid: Grid  # its step is the tap's stride, or less in a rarefied net


class Backbone(Protocol):
    """A trunk: an `nn.Module` whose forward returns one map per tap, keyed by stride.

    Nothing behind the deepest of its taps is computed. One whose every stride is a `MaxPool` takes
    a list, too, to which it appends their `Switches`, for decoders that unpool.
    taps: what is handed out, by stride in pixels, finest first.
    fc6: kernel and padding of the head's first layer (`head=fc`) on the deepest tap.
    pads_image: the first layer pads the image so far that scores cover it (pad 100, as released);
        elsewhere the score maps' border cells are repeated when they are upsampled.
    """

    taps: dict[int, Tap]
    fc6: tuple[int, int]
    pads_image: bool

    def __call__(self, image: Tensor) -> dict[int, Tensor]:
        """Maps by stride, each (N, channels, h, w), of an image (N, C, H, W)."""
        ...

    def layers(self) -> dict[str, nn.Module]:
        """Layers that hold weights, by their names in the original net, in its order."""
        ...


class PublishedWeights(NamedTuple):
    """A file of ImageNet weights that anyone can fetch. digest: its start, by `algorithm`."""

    file: str
    url: str
    digest: str
    algorithm: str


def refuse_pool5_stride(stride: int) -> None:
    """Raise ValueError where a last pooling's stride is none that is known."""
    if stride not in (1, 2):
        raise ValueError(f"pool5_stride={stride}: allowed are 2, as published, and 1")
