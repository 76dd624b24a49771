"""Positions of feature-map cells on the image: the algebra that every crop is derived from.

A feature map is a regular grid of cells. Convolution, pooling and transposed convolution each turn
one grid into another, so the offset between two maps is computed, never tabulated. Both axes share
one grid because all kernels in this package are square.
"""

from typing import NamedTuple


class Grid(NamedTuple):
    """Positions of a feature map's cells on the image, along one axis, in pixels."""

    step: float = 1.0  # distance between neighbouring cell centres
    origin: float = 0.0  # image coordinate of the first cell's centre; pixel 0 is at 0

    def conv(self, kernel: int, stride: int = 1, pad: int = 0) -> "Grid":
        """Grid after a convolution or pooling with this window."""
        return Grid(self.step * stride, self.origin + self.step * ((kernel - 1) / 2 - pad))

    def deconv(self, kernel: int, stride: int, pad: int = 0) -> "Grid":
        """Grid after a transposed convolution of output size `(in - 1) * stride + kernel`."""
        step = self.step / stride
        return Grid(step, self.origin - step * ((kernel - 1) / 2 - pad))

    def crop(self, offset: int) -> "Grid":
        """Grid after dropping the first `offset` cells; a negative offset adds cells."""
        return Grid(self.step, self.origin + self.step * offset)

    def offset_to(self, other: "Grid") -> float:
        """Number of this map's cells before the first cell of another map of equal step.

        If it is an integer, cropping that many cells aligns the two maps.
        Raises ValueError if the steps differ, since no crop can align such maps.
        """
        if self.step != other.step:
            raise ValueError(f"cannot align maps of step {self.step:g} and {other.step:g}")
        return (other.origin - self.origin) / self.step


IMAGE = Grid()


def bilinear_kernel_size(coarse: Grid, stride: int, target: Grid) -> int:
    """Size of the bilinear kernel that aligns the upsampled map with the target's cells.

    `2 * stride`, as in the reference nets, or one less if only an odd kernel's centre falls on a
    cell of the target: AlexNet uses 63 instead of 64, which would need a crop of 18.5.
    Raises ValueError if neither size aligns them.
    """
    for kernel in (2 * stride, 2 * stride - 1):
        if coarse.deconv(kernel, stride).offset_to(target).is_integer():
            return kernel
    raise ValueError(f"no bilinear kernel aligns {coarse} with {target} at stride {stride}")
