"""Images of any number of bands: TIFF, .npy and PNG, 8 or 16 bits or float."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fcnexp.data.files import opened
from fcnexp.data.stored import more_than_8_bits
from fcnexp.errors import DataError
from fcnexp.system.free_memory import free
from fcnexp.system.os_errors import reraise_system_error

BAND_SUFFIXES = (".tif", ".tiff", ".npy", ".png")
_NODATA_TAG = 42113  # GDAL's, in TIFFs
_KNOWN = {"S": True, "C": True, "I": True, "Q": False}  # a TIFF's third axis; Q is not known
_PNG_MODES = ("L", "I", "I;16", "I;16B", "RGB", "RGBA")
_EXTRA = "pip install 'fcnexp[bands]', or pip install tifffile imagecodecs"
_LARGE = 10**9  # bytes, from which on it pays to ask how much memory is free


class Stored(NamedTuple):
    """Bands as a file stores them, numbers of two or three axes.

    axes: `hwc` or `chw` if the file says it, or if it has two axes only; else None. nodata: what
    its tag says. pixels: reads them.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    axes: str | None
    nodata: float | None
    pixels: Callable[[], np.ndarray]


def stored_bands(path: Path) -> Stored:
    """Describe a file from its header. Raises DataError naming it."""
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: not a regular file, so no image")
    if not path.exists():
        raise DataError(f"{path}: no such image")
    kind = path.suffix.lower()
    read = _npy if kind == ".npy" else _tiff if kind in (".tif", ".tiff") else _png
    try:
        found = read(path)
    except DataError:
        raise
    except Exception as error:  # each library raises many types
        reraise_system_error(error)
        raise DataError(f"{path}: damaged or not an image ({_first_line(error)})") from None
    if found.dtype.kind not in "uif":
        raise DataError(f"{path}: holds {found.dtype}; save bands as whole numbers or floats")
    if len(found.shape) not in (2, 3) or 0 in found.shape:
        raise DataError(
            f"{path}: has shape {found.shape}; save one image in each file, (H, W, bands) or "
            "(bands, H, W)"
        )
    return found


def orders_that_fit(found: Stored, size: tuple[int, int]) -> list[str]:
    """Orders of axes with which a file of three axes has this height and width."""
    if found.axes is not None:
        return [found.axes]
    shape = found.shape
    return [o for o, at in (("hwc", shape[:2]), ("chw", shape[1:])) if at == size]


def size_and_count(found: Stored, axes: str | None, path: Path) -> tuple[int, int, int]:
    """Height, width and number of bands. axes: told. Raises DataError if nothing tells."""
    if len(found.shape) == 2:
        return found.shape[0], found.shape[1], 1
    order = found.axes or axes
    if order is None:
        raise DataError(
            f"{path}: has shape {found.shape}, and neither it nor bands.yaml says which axis is "
            "that of the bands; type python -m fcnexp.prepare bands ... axes=hwc, or axes=chw"
        )
    height, width, count = found.shape if order == "hwc" else (*found.shape[1:], found.shape[0])
    return height, width, count


def read_bands(path: Path, *, count: int, axes: str | None, nodata: float | None) -> Tensor:
    """Bands as float32 (count, H, W), NaN where missing.

    count: that the file must have. axes: order, if the file does not say it. nodata: value of
    missing pixels; NaN and infinity are missing, too. Raises DataError naming the file.
    """
    found = stored_bands(path)
    height, width, bands = size_and_count(found, axes, path)
    if bands != count:
        shape = f"shape {found.shape}" if found.axes is None else f"{width}x{height} pixels"
        raise DataError(
            f"{path}: has {bands} bands ({shape}), but {count} are expected, as in bands.yaml or "
            "the net; give all files the same bands, or if they changed, run prepare bands again"
        )
    needed = height * width * count * (found.dtype.itemsize + 4)
    if needed > _LARGE and needed > (left := free()):
        raise DataError(
            f"{path}: {width}x{height} pixels of {count} bands need {needed / 1e9:.3g} GB, but "
            f"{left / 1e9:.3g} GB are free; cut it into smaller images"
        )
    try:
        pixels = found.pixels()
    except Exception as error:
        reraise_system_error(error)
        hint = f"; {_EXTRA}" if "imagecodecs" in str(error) else ""
        raise DataError(f"{path}: cannot be decoded ({_first_line(error)}){hint}") from None
    return torch.from_numpy(as_float(pixels, found.axes or axes, nodata))


def as_float(pixels: np.ndarray, axes: str | None, nodata: float | None) -> np.ndarray:
    """Stored bands, of two or three axes, as float32 (C, H, W), NaN where missing."""
    if pixels.ndim == 2:
        pixels = pixels[None]
    elif axes == "hwc":
        pixels = pixels.transpose(2, 0, 1)
    with np.errstate(over="ignore"):  # beyond float32 is infinite, so missing
        bands = np.array(pixels, dtype=np.float32, order="C")  # a copy, also of a mapped file
    missing = ~np.isfinite(bands)
    if nodata is not None:
        missing |= bands == np.float32(nodata)
    bands[missing] = np.nan
    return bands


def picture_of(bands: Tensor, rgb: Sequence[int] | None) -> np.ndarray:
    """Three bands as a picture, uint8 (H, W, 3), each stretched from its 2nd to 98th percentile.

    bands: float (C, H, W), NaN where missing, which is black. rgb: bands to show, from 1; None: the
    first three, or the first in grey if there are fewer.
    """
    shown = rgb or ((1, 2, 3) if len(bands) >= 3 else (1, 1, 1))
    planes = [_stretched(bands[band - 1].float().cpu().numpy()) for band in shown]
    return np.stack(planes, -1)


def _stretched(plane: np.ndarray) -> np.ndarray:
    step = max(1, int((plane.size / 1e5) ** 0.5))
    some = plane[::step, ::step]
    known = some[np.isfinite(some)]
    if not known.size:
        return np.zeros(plane.shape, np.uint8)
    low, high = np.percentile(known, (2, 98))
    scaled = (plane - low) * (255 / (high - low) if high > low else 0.0)
    return np.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0).clip(0, 255).astype(np.uint8)


def _npy(path: Path) -> Stored:
    def mapped() -> np.ndarray:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))

    array = mapped()  # not kept: it holds a file open, and thousands may be described
    return Stored(array.shape, array.dtype, "chw" if array.ndim == 2 else None, None, mapped)


def _tiff(path: Path) -> Stored:
    try:
        import tifffile
    except ImportError:
        raise DataError(f"{path}: TIFFs of bands are read by tifffile; {_EXTRA}") from None

    def page_of(file: Any) -> Any:
        whole = [s for s in file.series if not (s.keyframe.is_reduced or s.keyframe.is_mask)]
        if len(whole) != 1:
            raise DataError(
                f"{path}: TIFF of {len(whole)} images of different size or type; save one image "
                "in each file, with all of its bands"
            )
        return whole[0]

    def pixels() -> np.ndarray:
        with tifffile.TiffFile(path) as file:
            return np.asarray(page_of(file).asarray())

    with tifffile.TiffFile(path) as file:
        series = page_of(file)
        axes, shape, dtype = str(series.axes), tuple(series.shape), np.dtype(series.dtype)
        tag = series.keyframe.tags.get(_NODATA_TAG)
        nodata = None if tag is None else float(str(tag.value).strip("\0 "))
    third = axes.replace("Y", "").replace("X", "")
    if len(axes) == 2:
        return Stored(shape, dtype, "chw", nodata, pixels)
    if third not in _KNOWN:
        raise DataError(
            f"{path}: TIFF with the axes {axes}, where only height, width and one axis of bands "
            "are read; save each time or depth as a file of its own"
        )
    order = ("hwc" if axes.endswith("S") else "chw") if _KNOWN[third] else None
    return Stored(shape, dtype, order, nodata, pixels)


def _png(path: Path) -> Stored:
    with opened(path, own=True) as image:
        deep = more_than_8_bits(image) if len(image.getbands()) > 1 else None
        if deep is not None or image.mode not in _PNG_MODES:
            raise DataError(
                f"{path}: {image.mode} image{f' {deep}' if deep else ''}, whose bands are not "
                "read unchanged; save them as TIFF or .npy"
            )
        mode, (width, height) = image.mode, image.size

    def pixels() -> np.ndarray:
        with opened(path, own=True) as image:
            return np.array(image)

    one = np.asarray(Image.new(mode, (1, 1)))
    shape = (height, width, *one.shape[2:])
    return Stored(shape, one.dtype, "chw" if one.ndim == 2 else "hwc", None, pixels)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
