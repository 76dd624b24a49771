"""How an image file stores its pixels, as far as Pillow's header tells; nothing is decoded."""

from typing import Any

from PIL import Image

DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # Pillow's modes of more than 8 bits
_LOSSY = ("JPEG", "MPO", "WEBP", "JPEG2000", "AVIF")
_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp", "lerc")
_SUBFILE, _SMALLER_OR_MASK = 254, 0b101  # TIFF's tag of what a page is, and the bits of extras
_SIZ = b"\xff\x51"  # JPEG 2000's marker of sizes and bits


def stored_mode(image: Image.Image) -> str:
    """Pillow's name for the stored pixels of an image that is not decoded yet, such as `RGB;16B`.

    Empty if the format has none.
    """
    args = _decoder_arguments(image)
    return str(args[0]) if args else ""


def _decoder_arguments(image: Image.Image) -> tuple[Any, ...]:
    """What Pillow's decoder of an open image is told, the stored mode first in most formats."""
    if not (tiles := getattr(image, "tile", [])):
        return ()
    args = tiles[0][3]
    return args if isinstance(args, tuple) else (args,)


def more_than_8_bits(image: Image.Image) -> str | None:
    """Describe the stored pixels of an open image if Pillow would reduce them; else None."""
    if image.mode in DEEP:
        return f"mode {image.mode}"
    mode = stored_mode(image)
    if image.format in ("PNG", "TIFF") and ";16" in mode:
        return f"stored as {mode}"
    if image.format == "PPM" and (args := _decoder_arguments(image)):
        largest = args[-1]
        return f"values up to {largest}" if type(largest) is int and largest > 255 else None
    if image.format == "JPEG2000" and (bits := _bits_of_jpeg2000(image)) > 8:
        return f"{bits} bits per channel"
    return None


def _bits_of_jpeg2000(image: Image.Image) -> int:
    """Bits of the first channel, from the SIZ marker; 8 if it is not found."""
    file: Any = getattr(image, "fp", None)
    if file is None:
        return 8
    place = file.tell()
    file.seek(0)
    head = file.read(4096)
    file.seek(place)
    at = head.find(b"\xff\x4f" + _SIZ)  # SIZ follows the start of the code stream
    first = at + 2 + 40  # the marker, its length, and 36 bytes of sizes come before the channels
    return (head[first] & 0x7F) + 1 if at >= 0 and first < len(head) else 8


def pages(image: Image.Image) -> int:
    """Number of pages of an open TIFF, without reduced copies and transparency masks; else 1."""
    count = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    if count == 1:
        return 1
    full = 0
    for page in range(count):
        image.seek(page)
        tags: dict[int, Any] = getattr(image, "tag_v2", {})
        full += not tags.get(_SUBFILE, 0) & _SMALLER_OR_MASK
    image.seek(0)
    return full


def inexact(image: Image.Image) -> str | None:
    """Reason why Pillow does not return the stored values of an open image; None if it does."""
    if image.format in _LOSSY:
        return f"{image.format} compression mixes neighbouring values"
    if image.format == "TIFF" and image.info.get("compression") in _LOSSY_TIFF:
        return f"{image.info['compression']} compression mixes neighbouring values"
    if (count := pages(image)) > 1:
        return f"TIFF of {count} pages"
    mode = stored_mode(image)
    if image.mode == "L" and mode.startswith(("L;2", "L;4")):
        # Pillow returns 85 or 17 for 1. The intended value is unknown, since PNG optimisers store
        # 8-bit 17 as 4-bit 1.
        return f"{mode[2]}-bit grey is stretched to 0-255 by readers"
    if image.mode not in DEEP and image.format in ("PNG", "TIFF") and ";16" in mode:
        return f"colours of 16 bits ({mode}) are cut to 8 by readers"
    return None
