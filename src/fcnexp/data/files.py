"""Reading images, label maps and id lists; every failure names the file."""

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from fcnexp import VOID
from fcnexp.data.mat import UnlikeSbdError, field_of_struct
from fcnexp.data.mat_tags import refuse_unsound
from fcnexp.errors import DataError
from fcnexp.system.os_errors import let_through

_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # Pillow's modes of more than 8 bits
_STRIP = 256  # rows
_SMALL = 2**21  # pixels
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm")  # photographs


def read_rgb(path: Path, *, upright: bool = False) -> Tensor:
    """Photograph as uint8 (3, H, W), RGB, [0, 255].

    upright: turn it as its EXIF note says. Data sets leave it: their labels were drawn unturned.
    Grey, palette and CMYK become RGB; transparency is dropped; of an animation it is the first.
    Raises DataError where the file is missing, damaged, cut short, or grey of 16 bits.
    """
    try:
        with Image.open(path) as image:
            mode = image.mode
            if upright:
                ImageOps.exif_transpose(image, in_place=True)
            pixels = _rgb_pixels(image)
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except Exception as error:  # Pillow raises many types, by format
        let_through(error)
        raise DataError(f"{path}: damaged or not an image ({error}); fetch it again") from None
    if mode in _DEEP:  # Pillow clips it at 255, to white
        raise DataError(
            f"{path}: grey of more than 8 bits (mode {mode}); which values are black and white it "
            "does not say: save it with 8 bits"
        )
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _rgb_pixels(image: Image.Image) -> np.ndarray:
    """Pixels uint8 (H, W, 3); of large images strip by strip.

    At once Pillow would hold them three times over.
    """
    image.load()  # at once; a crop of an image that is not loaded may load it anew
    if image.mode == "RGB" and image.width * image.height <= _SMALL:
        return np.array(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP):
        strip = image.crop((0, top, image.width, min(top + _STRIP, image.height)))
        pixels[top : top + _STRIP] = np.asarray(strip.convert("RGB"))
    return pixels


def read_hha(path: Path) -> Tensor:
    """HHA as uint8 (3, H, W), [0, 255]: disparity, height and angle, in the order of the file.

    Raises DataError where the file is missing, damaged or has other than three 8-bit channels.
    """
    mode, pixels = _read_stored(path, "HHA image")
    if mode != "RGB":
        raise DataError(
            f"{path}: an HHA image of mode {mode}; HHA is an RGB PNG of disparity, height and angle"
        )
    return torch.from_numpy(pixels).permute(2, 0, 1)


def read_depth(path: Path) -> Tensor:
    """Depth as int32 (1, H, W), millimetres, 0 where missing.

    Raises DataError where the file is missing, damaged or has other than one channel of 16 bits.
    """
    mode, depth = _read_stored(path, "depth image")
    if mode not in ("I", "I;16", "I;16B"):  # Pillow's names for 16-bit grey, by version
        raise DataError(
            f"{path}: a depth image of mode {mode}; depth is a 16-bit grey PNG of millimetres, 0 "
            "where missing"
        )
    return torch.from_numpy(depth.astype(np.int32))[None]


def read_size(path: Path) -> tuple[int, int]:
    """Height and width of an image, from its header. Raises DataError."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except Exception as error:  # Pillow raises many types, by format
        let_through(error)
        raise DataError(f"{path}: damaged or not an image ({error}); fetch it again") from None


def read_label_png(path: Path) -> np.ndarray:
    """Label map as stored, uint8 (H, W): the indices of a palette or grey PNG, never its colours.

    Raises DataError where the file is missing, damaged, stored with loss, or holds colours instead
    of indices.
    """
    mode, label = _read_stored(path, "label", exact=True)
    if mode not in ("P", "L"):
        raise DataError(
            f"{path}: a label of mode {mode}; labels are palette or grey PNGs whose 8-bit pixel "
            "values are class indices, 255 for void; convert colours to indices first"
        )
    return label


def read_label_mat(path: Path) -> np.ndarray:
    """Label map of an SBD `cls/*.mat` file, uint8 (H, W).

    Raises DataError where the file is missing, damaged, or has no GTcls.Segmentation.
    """
    try:
        label = _segmentation(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such label") from None
    except Exception as error:  # scipy raises many types on damaged files
        let_through(error, memory=False)
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{path}: not an SBD label, GTcls.Segmentation ({why}); fetch it again"
        ) from None
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
    except UnlikeSbdError:  # written by other hands
        import scipy.io  # slow to import

        refuse_unsound(file, "GTcls")
        stored = scipy.io.loadmat(BytesIO(file), variable_names=["GTcls"])
        return np.asarray(stored["GTcls"][0]["Segmentation"][0])


def check_sizes(sizes: dict[Path, tuple[int, ...]]) -> None:
    """Raise DataError, naming two files, where not all files of a sample have one (H, W)."""
    first, (height, width) = next(iter(sizes.items()))
    for path, (h, w) in sizes.items():
        if (h, w) != (height, width):
            raise DataError(
                f"{path}: is {w}x{h}, but {first} is {width}x{height} (width x height); an image, "
                "its other fields and its label have one size"
            )


def check_label(label: np.ndarray, path: Path, num_classes: int) -> Tensor:
    """Label as a tensor, uint8 (H, W). Raises DataError on a value neither class nor void."""
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


def read_ids(path: Path) -> list[str]:
    """Ids of a split file, one a line (a second column is ignored, as in VOC's class lists).

    Raises DataError where the list is missing, empty, not text, or names an id twice or a folder.
    """
    ids = [line.split()[0] for line in read_lines(path)]
    for name in ids:
        if "/" in name or "\\" in name:  # such a name would hide that two lists share an image
            raise DataError(
                f"{path}: {name} has a folder; a split lists ids, file names without folder and "
                "extension"
            )
        if name in (".", ".."):
            raise DataError(f"{path}: {name} is no file's name; a split lists one image id a line")
    refuse_repeated(ids, path)
    return ids


def read_lines(path: Path) -> list[str]:
    """Lines of a list that are not blank, stripped; a byte order mark is left out.

    Raises DataError where the file is missing, empty or not text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    except OSError as error:
        let_through(error)
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if "\0" in text:
        raise DataError(f"{path}: not a text file in UTF-8; a split lists one image id a line")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{path}: the list is empty; a split lists one image id a line")
    return lines


def refuse_repeated(ids: list[str], path: Path) -> None:
    """Raise DataError where a list names an image twice."""
    if len(set(ids)) < len(ids):
        twice = next(name for i, name in enumerate(ids) if name in ids[:i])
        raise DataError(f"{path}: {twice} is listed twice; leave one of them out")


def _read_stored(path: Path, what: str, *, exact: bool = False) -> tuple[str, np.ndarray]:
    """Pillow's mode of an image and its pixels, unconverted.

    exact: refuse files whose stored values are not what Pillow hands out.
    """
    try:
        with Image.open(path) as image:
            trouble = _inexact(image) if exact else None
            mode, pixels = image.mode, np.array(image)
    except FileNotFoundError:
        raise DataError(f"{path}: no such {what}") from None
    except Exception as error:  # Pillow raises many types, by format
        let_through(error)
        raise DataError(f"{path}: damaged or not an image ({error}); fetch it again") from None
    if trouble is not None:
        raise DataError(f"{path}: {trouble}; save the {what} as a PNG of 8 bits")
    return mode, pixels


def _inexact(image: Image.Image) -> str | None:
    """Why the values of an open image, not yet read, are not the stored ones; None if they are."""
    if image.format in ("JPEG", "MPO", "WEBP", "JPEG2000"):
        return f"a {image.format}, whose compression mixes neighbouring values"
    tiles = getattr(image, "tile", [])
    stored = tiles[0][3] if tiles else None  # Pillow's name for the stored pixels
    if image.mode == "L" and stored in ("L;2", "L;4"):
        # 1 comes out as 85 or 17, and whether 1 or 17 was meant cannot be told: programs that
        # shrink PNGs store 8-bit 17 as 4-bit 1.
        return f"grey of {stored[2:]} bits, which readers stretch to 0 to 255"
    return None
