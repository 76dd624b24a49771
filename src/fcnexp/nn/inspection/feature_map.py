"""What is told of one map of a net."""

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from fcnexp.nn.geometry import Grid


class Window(NamedTuple):
    """What a convolution or pooling looks through.

    kernel: cells from its first to its last, which lie `dilation` apart.
    """

    kernel: int
    stride: int
    pad: int
    groups: int = 1
    dilation: int = 1


@dataclass
class Map:
    """One map of a net.

    shape: channels, height, width. grid: where its cells lie on the image. receptive_field: pixels
    that a cell can see, along one axis. depth: trained convolutions on the longest way to it.
    parameters, multiply_adds: of the layer that makes it. window: of a convolution or pooling.
    offset: cells cut off in front, of a crop. radius: pixels from a cell's place to the furthest
    one on which it depends, on either side; unlike half the receptive field it also holds for cells
    that are interpolated. value: the tensor (N, C, H, W) after activation, where it was asked to be
    kept.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    grid: Grid
    receptive_field: float
    depth: int = 0
    parameters: int = 0
    multiply_adds: int = 0
    sources: tuple[str, ...] = ()
    window: Window | None = None
    offset: int | None = None
    radius: float = 0.0
    value: Tensor | None = field(default=None, repr=False)
