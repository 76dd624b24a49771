"""Interface of every convolutional trunk: maps keyed by stride, and their cells' positions."""

from typing import NamedTuple, Protocol

from torch import Tensor, nn

from fcnexp.nn.geometry import Grid


class Tap(NamedTuple):
    """A map that a trunk returns."""

    channels: int
    grid: Grid  # its step is the tap's stride, or less in a rarefied net


class Backbone(Protocol):
    """A trunk: an `nn.Module` whose forward returns one map per tap, keyed by stride.

    Nothing after the deepest tap is computed. A trunk whose poolings are all `MaxPool` also takes
    a list, to which it appends the poolings' `Switches`, for decoders that unpool.
    taps: the maps that it returns, by stride in pixels, finest first.
    fc6: kernel and padding of the head's first layer (`head=fc`) on the deepest tap.
    pads_image: True if the first layer pads the image so far that the scores cover it (pad 100, as
        released); otherwise upsampling repeats the border cells of the score maps.
    """

    taps: dict[int, Tap]
    fc6: tuple[int, int]
    pads_image: bool

    def __call__(self, image: Tensor) -> dict[int, Tensor]:
        """Return the maps (N, channels, h, w) of an image (N, C, H, W), keyed by stride."""
        ...

    def layers(self) -> dict[str, nn.Module]:
        """Return the layers with weights by their names in the original net, in its order."""
        ...


class PublishedWeights(NamedTuple):
    """A public file of ImageNet weights. digest: first digits of its `algorithm` hash."""

    file: str
    url: str
    digest: str
    algorithm: str


def refuse_pool5_stride(stride: int) -> None:
    """Raise ValueError if the last pooling's stride is neither 1 nor 2."""
    if stride not in (1, 2):
        raise ValueError(f"pool5_stride={stride}: allowed are 2 (as published) and 1")
