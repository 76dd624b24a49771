"""Input of any number of bands, such as a satellite's, with the statistics of their own data."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fcnexp.errors import DataError

ORDERS = ("bgr", "rgb")


@dataclass(frozen=True)
class Bands:
    """Chosen bands of a file, each with mean 0 and the same deviation, missing pixels at the mean.

    mean, std: of every band of the file, over the training images.
    use: bands that are input, in this order; the file's first band is 1. None: all.
    rgb: bands of red, green and blue, if known: they keep the filters of nets trained on colour,
        and pictures show them.
    order: of those nets' filters, `bgr` (Caffe's) or `rgb` (torchvision's).
    spread: standard deviation of each band in network space. Colour has about 72 in Caffe's nets,
        1 in torchvision's.
    nodata: stored value of missing pixels, beside NaN and infinity. axes: order of arrays (`hwc` or
        `chw`) in files that do not say it.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    use: tuple[int, ...] | None
    rgb: tuple[int, int, int] | None
    order: str
    spread: float
    nodata: float | None
    axes: str | None

    def __post_init__(self) -> None:
        """Store plain tuples. Raises ValueError naming what does not fit."""
        count = len(self.mean)
        for name in ("mean", "std", "use", "rgb"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))
        if not count or len(self.std) != count:
            raise ValueError(
                f"bands: mean has {count} values, std {len(self.std)}; give one of each for every "
                "band of the files"
            )
        for name, bands in (("use", self.use), ("rgb", self.rgb)):
            fits = bands is None or (
                all(type(b) is int and 0 < b <= count for b in bands)
                and 0 < len(bands) == len(set(bands))
            )
            if not fits or (name == "rgb" and bands is not None and len(bands) != 3):
                raise ValueError(
                    f"bands.{name}={list(bands or ())}: the files have bands 1 to {count}; give "
                    f"{'three' if name == 'rgb' else 'some'} of these, each once, or null"
                )
        if constant := [band for band in self.bands if not self.std[band - 1] > 0]:
            kept = [band for band in self.bands if band not in constant]
            raise ValueError(
                f"bands.use={list(self.bands)}: band {constant[0]} has one value in all training "
                f"images, so that it says nothing; leave it out: modality.bands.use={kept}"
            )
        if self.order not in ORDERS:
            raise ValueError(f"bands.order={self.order}: allowed are {' and '.join(ORDERS)}")
        if not self.spread > 0:
            raise ValueError(f"bands.spread={self.spread}: must be above 0, such as 1 or 72")

    @property
    def bands(self) -> tuple[int, ...]:
        """Bands of the file that are input, from 1, in order."""
        return self.use or tuple(range(1, len(self.mean) + 1))

    @property
    def channels(self) -> int:
        """Number of channels in network space."""
        return len(self.bands)

    @property
    def stored_channels(self) -> int:
        """Number of bands in a file."""
        return len(self.mean)

    @property
    def colour_channels(self) -> tuple[int, int, int] | None:
        """Channels that hold the colours, in the order of the filters; None if one is missing."""
        if self.rgb is None or not set(self.rgb) <= set(self.bands):
            return None
        red, green, blue = (self.bands.index(band) for band in self.rgb)
        return (blue, green, red) if self.order == "bgr" else (red, green, blue)

    def apply(self, stored: Tensor) -> Tensor:
        """Return network input, (N, channels, H, W), for all bands of files, float (N, C, H, W).

        Raises DataError if the files of the training had another number of bands.
        """
        if stored.shape[1] != len(self.mean):
            raise DataError(
                f"images of {stored.shape[1]} bands, but the net was trained on files of "
                f"{len(self.mean)}; choose data with the same bands"
            )
        planes = []
        for band in self.bands:  # numbers, no tensors of means: those would wait for a GPU
            plane = stored[:, band - 1].float()
            missing = ~plane.isfinite()
            if self.nodata is not None:
                missing |= plane == float(np.float32(self.nodata))  # as images hold it
            scaled = (plane - self.mean[band - 1]) * (self.spread / self.std[band - 1])
            planes.append(scaled.masked_fill(missing, 0.0))
        return torch.stack(planes, 1)
