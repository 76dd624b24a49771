"""Mean and deviation of each band over the training images, and what their files hold."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcnexp.data.bands import Stored, orders_that_fit, read_bands, size_and_count, stored_bands
from fcnexp.data.files import read_size
from fcnexp.data.pairs import Pairs
from fcnexp.errors import ConfigError, DataError
from fcnexp.system.bands_file import ORDERS, BandsFile, digest_of

InOrder = Callable[[Callable[[Path], "Moments"], list[Path]], Iterable["Moments"]]


class Moments(NamedTuple):
    """Sums over pixels, float64, one value per band.

    known: pixels that are not missing. mean: of these. squares: summed squared distance from it.
    low, high: smallest and largest value. missing: pixels.
    """

    known: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray
    missing: np.ndarray

    @property
    def std(self) -> np.ndarray:
        """Standard deviation over the pixels; 0 without any."""
        return np.sqrt(self.squares / np.maximum(self.known, 1))

    def merged(self, other: "Moments") -> "Moments":
        """Moments of both sets of pixels. Source: Chan et al. 1979, which loses no digits."""
        known = self.known + other.known
        share = other.known / np.maximum(known, 1)
        apart = other.mean - self.mean
        return Moments(
            known,
            self.mean + apart * share,
            self.squares + other.squares + apart**2 * self.known * share,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.missing + other.missing,
        )


def describe(
    pairs: Pairs,
    *,
    axes: str | None,
    nodata: float | None,
    rgb: Sequence[int] | None,
    in_order: InOrder,
) -> tuple[BandsFile, Moments]:
    """Describe the bands of training images, and return their moments.

    axes, nodata, rgb: as told; None: axes are found by the sizes of the masks, nodata from the
    files' own tags. in_order: maps a function over paths, in order. Raises ConfigError if what was
    told is wrong or required, DataError naming the file that differs from the others.
    """
    if axes is not None and axes not in ORDERS:
        raise ConfigError(f"axes={axes}: allowed are {' and '.join(ORDERS)}, or null")
    images = [pairs.images[name] for name in pairs.ids]
    headers = {path: stored_bands(path) for path in images}
    masks = {pairs.images[name]: pairs.masks[name] for name in pairs.ids}
    axes = axes or _axes_of(headers, masks)
    count = _count_of(headers, axes)
    if rgb is not None and not _three_of(rgb, count):
        raise ConfigError(
            f"rgb={list(rgb)}: the files have bands 1 to {count}; give three of these"
        )
    if nodata is None:
        nodata = _nodata_of(headers)
    elif not math.isfinite(nodata):
        nodata = None  # NaN and infinity are missing anyway
    one = partial(moments_of, count=count, axes=axes, nodata=nodata)
    total: Moments | None = None
    for each in in_order(one, images):
        total = each if total is None else total.merged(each)
    assert total is not None  # a split without images is refused
    named = {name: pairs.images[name] for name in pairs.ids}
    chosen = None if rgb is None else list(rgb)
    mean, std = total.mean.tolist(), total.std.tolist()
    written = round(time.time(), 3)
    found = BandsFile(axes, nodata, chosen, mean, std, len(images), digest_of(named), written)
    return found, total


def moments_of(path: Path, *, count: int, axes: str | None, nodata: float | None) -> Moments:
    """Moments of one image. Raises DataError naming it."""
    bands = read_bands(path, count=count, axes=axes, nodata=nodata).numpy()
    rows: list[tuple[float, ...]] = []
    for plane in bands:
        known = plane[~np.isnan(plane)].astype(np.float64)
        mean = float(known.mean()) if known.size else 0.0
        squares = float(((known - mean) ** 2).sum())
        low, high = known.min(initial=np.inf), known.max(initial=-np.inf)
        rows.append((known.size, mean, squares, low, high, plane.size - known.size))
    return Moments(*np.array(rows, np.float64).T)


def _axes_of(headers: dict[Path, Stored], masks: dict[Path, Path]) -> str | None:
    """Order of axes of the files that do not say it; None if all do. Raises DataError."""
    agreed, first = set(ORDERS), None
    for path, found in headers.items():
        if found.axes is not None:
            continue
        size = read_size(masks[path], own=True)
        fits = orders_that_fit(found, size)
        if not fits:
            raise DataError(
                f"{path}: has shape {found.shape}, but its mask {masks[path]} is {size[1]}x"
                f"{size[0]} (width x height); an image and its mask must have the same size"
            )
        if not agreed & set(fits):
            raise DataError(
                f"{path}: has its axes in the order {fits[0]}, but {first} has {min(agreed)}; save "
                "all files in one order"
            )
        agreed, first = agreed & set(fits), first or path
    if first is None:
        return None
    if len(agreed) > 1:
        raise ConfigError(
            f"{first}: has shape {headers[first].shape}, whose bands may be its first or its last "
            "axis, and so in all files; add axes=hwc if they are the last, axes=chw if the first"
        )
    return agreed.pop()


def _count_of(headers: dict[Path, Stored], axes: str | None) -> int:
    """Number of bands, the same in all files. Raises DataError."""
    counts = {path: size_and_count(found, axes, path)[2] for path, found in headers.items()}
    first, count = next(iter(counts.items()))
    for path, other in counts.items():
        if other != count:
            raise DataError(
                f"{path}: has {other} bands, but {first} has {count}; give all files the same bands"
            )
    return count


def _nodata_of(headers: dict[Path, Stored]) -> float | None:
    """Value of missing pixels that the files' tags name. Raises ConfigError if they differ."""
    said = {path: found.nodata for path, found in headers.items() if found.nodata is not None}
    values = {value for value in said.values() if math.isfinite(value)}
    if len(values) > 1:
        first, other = sorted(values)[:2]
        raise ConfigError(
            f"nodata: some files say {first:g}, others {other:g}; add nodata=VALUE for all of them"
        )
    return values.pop() if values else None


def _three_of(rgb: Sequence[int], count: int) -> bool:
    return len(set(rgb)) == len(rgb) == 3 and all(0 < band <= count for band in rgb)
