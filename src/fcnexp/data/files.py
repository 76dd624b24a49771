"""Readers of images and label maps; every error names the file."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fcnexp import VOID
from fcnexp.data.generated.cache import cure
from fcnexp.data.mat import UnlikeSbdError, field_of_struct, refuse_unsound
from fcnexp.data.orientation import orient
from fcnexp.data.stored import DEEP, inexact, more_than_8_bits, pages
from fcnexp.errors import DataError
from fcnexp.system.free_memory import free
from fcnexp.system.os_errors import reraise_system_error

_STRIP = 256  # rows
_SMALL = 2**21  # pixels
_LARGE = 10**8  # pixels, from which on it pays to ask how much memory is free
_READING = 8  # most bytes per pixel that reading an image takes


@contextmanager
def opened(path: Path, what: str = "image", *, own: bool = False) -> Iterator[Image.Image]:
    """Open an image; turn errors inside the block into DataError, except system errors.

    own: whether it is the user's own file, which may have any size. Files of published data sets,
    which come from archives, must keep to Pillow's limit, as a small file can claim to be an image
    that takes all memory.
    """
    if path.exists() and not path.is_file():  # a named pipe would block forever
        raise DataError(f"{path}: not a regular file, so no {what}")
    try:
        with _any_size() if own else nullcontext(), Image.open(path) as image:
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(_too_large(path, str(error))) from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such {what}") from None
    except Exception as error:  # Pillow raises many types, by format
        reraise_system_error(error)
        raise DataError(f"{path}: damaged or not an image ({error}); {cure(path)}") from None


@contextmanager
def _any_size() -> Iterator[None]:
    """Switch off Pillow's limit on the size of an image, in this process."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _too_large(path: Path, error: str) -> str:
    """Message for an image above Pillow's limit, whose error names both numbers of pixels."""
    pixels, most = (f"{int(number) / 1e6:.4g}" for number in re.findall(r"[0-9]+", error)[:2])
    return (
        f"{path}: says that it has {pixels} megapixels; images of published data sets may have "
        f"{most}, as larger ones are likely damaged or malicious: fetch it again, or if you trust "
        "it, read these files as your own, with data=folder data.root=FOLDER"
    )


def read_rgb(
    path: Path, *, upright: bool | Callable[[Image.Image], bool] = False, own: bool = False
) -> Tensor:
    """Image as uint8 (3, H, W), RGB, [0, 255].

    upright: apply the EXIF orientation; a function decides it for an open image. Published data
    sets do not: their labels were drawn without it.
    own: see `opened`.
    Grey, palette and CMYK become RGB, transparency is dropped, an animation gives its first frame.
    Raises DataError if the file is missing, damaged, truncated, of several pages, or has more than
    8 bits per channel.
    """
    with opened(path, own=own) as image:
        refuse_unclear(image, path)
        refuse_beyond_memory(image, path)
        turn = upright(image) if callable(upright) else upright
        pixels = _rgb_pixels(orient(image, upright=turn))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def refuse_beyond_memory(image: Image.Image, path: Path) -> None:
    """Raise DataError if an open image, as large as its header claims, cannot fit in memory."""
    needed = _READING * image.width * image.height
    if image.width * image.height > _LARGE and needed > (left := free()):
        raise DataError(
            f"{path}: {image.width}x{image.height} pixels need {needed / 1e9:.3g} GB to be read, "
            f"but {left / 1e9:.3g} GB are free; cut it into smaller images, or if its size is "
            "wrong, save it again"
        )


def refuse_unclear(image: Image.Image, path: Path) -> None:
    """Raise DataError if an open image has several pages, or more than 8 bits per channel."""
    if (deep := more_than_8_bits(image)) is not None:
        # Pillow clips grey above 255 to white, and cuts colours to their high byte.
        kind = "grey" if image.mode in DEEP else "colour"
        raise DataError(
            f"{path}: {kind} image with more than 8 bits ({deep}), whose black and white values "
            "are unknown; save it with 8 bits"
        )
    if (count := pages(image)) > 1:
        raise DataError(
            f"{path}: TIFF of {count} pages, and any of them may be meant; save each page to use "
            "as a file of its own"
        )


def _rgb_pixels(image: Image.Image) -> np.ndarray:
    """Pixels of a decoded image, uint8 (H, W, 3).

    Large images are converted strip by strip, as Pillow would hold three copies.
    """
    if image.mode == "RGB" and image.width * image.height <= _SMALL:
        return np.array(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP):
        strip = image.crop((0, top, image.width, min(top + _STRIP, image.height)))
        pixels[top : top + _STRIP] = np.asarray(strip.convert("RGB"))
    return pixels


def read_hha(path: Path, *, own: bool = False) -> Tensor:
    """HHA as uint8 (3, H, W), [0, 255]: disparity, height and angle, in the file's order.

    own: see `opened`. Raises DataError if the file is missing, damaged or does not have three 8-bit
    channels.
    """
    mode, pixels = _read_stored(path, "HHA image", own=own)
    if mode != "RGB":
        raise DataError(
            f"{path}: HHA image of mode {mode}; save HHA as an RGB PNG of disparity, height and "
            "angle"
        )
    return torch.from_numpy(pixels).permute(2, 0, 1)


def read_depth(path: Path, *, own: bool = False) -> Tensor:
    """Depth as int32 (1, H, W), millimetres, 0 where missing.

    own: see `opened`. Raises DataError if the file is missing, damaged or not 16-bit grey.
    """
    mode, depth = _read_stored(path, "depth image", own=own)
    if mode not in ("I", "I;16", "I;16B"):  # Pillow's names for 16-bit grey, by version
        raise DataError(
            f"{path}: depth image of mode {mode}; save depth as a 16-bit grey PNG of millimetres, "
            "0 where missing"
        )
    if depth.min(initial=0) < 0 or depth.max(initial=0) > 65535:  # of a TIFF of 32 bits
        raise DataError(
            f"{path}: depth from {depth.min()} to {depth.max()}; save millimetres from 0, where "
            "missing, to 65535"
        )
    return torch.from_numpy(depth.astype(np.int32))[None]


def read_size(path: Path, *, own: bool = False) -> tuple[int, int]:
    """Height and width of an image, from its header; own: see `opened`. Raises DataError."""
    with opened(path, own=own) as image:
        return image.height, image.width


def read_label_png(path: Path) -> np.ndarray:
    """Stored label map, uint8 (H, W): the indices of a palette or grey PNG, not its colours.

    Raises DataError if the file is missing, damaged, lossily compressed, or holds colours.
    """
    mode, label = _read_stored(path, "label", exact=True)
    if mode not in ("P", "L"):
        raise DataError(
            f"{path}: label of mode {mode}; labels must be palette or grey PNGs whose 8-bit pixel "
            "values are class indices, 255 for void: convert colours to indices first"
        )
    return label


@contextmanager
def reading_mat(path: Path, kind: str, variable: str) -> Iterator[None]:
    """Turn errors while a label is read from a MATLAB file into DataError."""
    if path.exists() and not path.is_file():  # an endless device would fill the memory
        raise DataError(f"{path}: not a regular file, so not {kind}")
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: no such label") from None
    except Exception as error:  # scipy raises many types on damaged files
        reraise_system_error(error, memory=False)
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{path}: not {kind}, cannot read {variable} ({why}); fetch it again"
        ) from None


def read_mat_map(path: Path, kind: str, variable: str) -> np.ndarray:
    """A matrix of numbers (H, W) in a MATLAB file, as stored.

    kind: of the file, for messages. Raises DataError if the file is missing, damaged, has no such
    variable, or anything else in it.
    """
    import scipy.io  # slow to import

    with reading_mat(path, kind, variable):
        file = path.read_bytes()
        refuse_unsound(file, variable)
        stored = scipy.io.loadmat(BytesIO(file), variable_names=[variable])[variable]
    # MATLAB structs, cells and sparse matrices have a shape too, but no pixels.
    if not isinstance(stored, np.ndarray) or stored.dtype.kind not in "uif" or stored.ndim != 2:
        found = f"{type(stored).__name__} of {stored.dtype} {stored.shape}"
        raise DataError(f"{path}: {variable} is {found}, not numbers (height, width)")
    return stored


def read_label_mat(path: Path) -> np.ndarray:
    """Label map of an SBD `cls/*.mat` file, uint8 (H, W).

    Raises DataError if the file is missing, damaged, or has no uint8 GTcls.Segmentation.
    """
    with reading_mat(path, "an SBD label", "GTcls.Segmentation"):
        label = _segmentation(path)
    if label.ndim != 2 or label.dtype != np.uint8:
        raise DataError(
            f"{path}: GTcls.Segmentation is {label.dtype} {label.shape}, not uint8 (height, width);"
            " save indices as uint8, or fetch it again"
        )
    return label


def _segmentation(path: Path) -> np.ndarray:
    file = path.read_bytes()
    try:
        return field_of_struct(file, "GTcls", "Segmentation")
    except UnlikeSbdError:  # from another source
        import scipy.io  # slow to import

        refuse_unsound(file, "GTcls")
        stored = scipy.io.loadmat(BytesIO(file), variable_names=["GTcls"])
        return np.asarray(stored["GTcls"][0]["Segmentation"][0])


def check_sizes(sizes: dict[Path, tuple[int, ...]]) -> None:
    """Raise DataError, naming two files, if the files of a sample differ in (H, W)."""
    first, (height, width) = next(iter(sizes.items()))
    for path, (h, w) in sizes.items():
        if (h, w) != (height, width):
            raise DataError(
                f"{path}: is {w}x{h}, but {first} is {width}x{height} (width x height); an image, "
                "its other fields and its label must have the same size"
            )


def check_label(label: np.ndarray, path: Path, num_classes: int) -> Tensor:
    """Label as a tensor, (H, W). Raises DataError on values other than classes and void."""
    if label.max(initial=0) < num_classes:
        return torch.from_numpy(label)
    wrong = (label >= num_classes) & (label != VOID)
    if wrong.any():
        values = ", ".join(str(value) for value in np.unique(label[wrong])[:5])
        raise DataError(
            f"{path}: label value {values} in {int(wrong.sum())} pixels; allowed are 0 to "
            f"{num_classes - 1} ({num_classes} classes) and {VOID} for void"
        )
    return torch.from_numpy(label)


def _read_stored(
    path: Path, what: str, *, exact: bool = False, own: bool = False
) -> tuple[str, np.ndarray]:
    """Pillow's mode of an image and its unconverted pixels.

    exact: refuse files whose stored values Pillow does not return unchanged. own: see `opened`.
    """
    with opened(path, what, own=own) as image:
        trouble = inexact(image) if exact else None
        mode, pixels = image.mode, np.array(image)
    if trouble is not None:
        raise DataError(f"{path}: {trouble}; save the {what} as an 8-bit PNG")
    return mode, pixels
