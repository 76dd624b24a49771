"""Where the cells of a feature map lie on the image: the algebra from which every crop follows.

A map is a regular grid of cells. Convolution, pooling and transposed convolution each turn one
grid into another, so the offset at which two maps line up is computed, never tabulated. Both axes
share one grid, since all kernels here are square.
"""

from typing import NamedTuple


class Grid(NamedTuple):
    """Where a feature map's cells sit on the image, along one axis, in pixels."""

    step: float = 1.0  # distance between neighbouring cell centres
    origin: float = 0.0  # image coordinate of the first cell's centre; pixel 0 is at 0

    def conv(self, kernel: int, stride: int = 1, pad: int = 0) -> "Grid":
        """Grid behind a convolution or pooling window of this size."""
        return Grid(self.step * stride, self.origin + self.step * ((kernel - 1) / 2 - pad))

    def deconv(self, kernel: int, stride: int, pad: int = 0) -> "Grid":
        """Grid behind a transposed convolution, whose output is `(in - 1) * stride + kernel`."""
        step = self.step / stride
        return Grid(step, self.origin - step * ((kernel - 1) / 2 - pad))

    def crop(self, offset: int) -> "Grid":
        """Grid after dropping the first `offset` cells; a negative offset adds cells."""
        return Grid(self.step, self.origin + self.step * offset)

    def offset_to(self, other: "Grid") -> float:
        """Cells of this map that lie before the first cell of the other, a map of equal step.

        A whole number means that the two line up and this many cells are cropped.
        Raises ValueError where the steps differ, since no crop can line such maps up.
        """
        if self.step != other.step:
            raise ValueError(f"maps of step {self.step:g} and {other.step:g} cannot be lined up")
        return (other.origin - self.origin) / self.step


IMAGE = Grid()


def bilinear_kernel_size(coarse: Grid, stride: int, target: Grid) -> int:
    """Size of the bilinear kernel by which the upsampled map lines up with the target's cells.

    `2 * stride`, as in the reference nets, or one less where only an odd kernel's centre falls on
    a cell of the target: AlexNet's 63 instead of 64, which would want a crop of 18.5.
    Raises ValueError where neither does.
    """
    for kernel in (2 * stride, 2 * stride - 1):
        if coarse.deconv(kernel, stride).offset_to(target).is_integer():
            return kernel
    raise ValueError(f"no bilinear kernel lines {coarse} up with {target} at stride {stride}")
