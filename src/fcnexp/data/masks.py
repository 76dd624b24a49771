"""Masks of custom data: class indices, declared values, or declared colours."""

from pathlib import Path

import numpy as np

from fcnexp import VOID
from fcnexp.data.files import opened, refuse_beyond_memory
from fcnexp.data.palette import ClassesFile, indices_of_colours
from fcnexp.data.stored import inexact
from fcnexp.errors import DataError

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")  # formats that keep values
_WHOLE = ("1", "L", "P", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")  # modes of whole numbers
PANOPTIC = (
    "; COCO panoptic PNGs, whose colours are numbers of segments, are not read: convert them to "
    "class indices first (panopticapi's converter to semantic segmentation)"
)


def read_mask(path: Path, classes: ClassesFile, *, own: bool = False) -> np.ndarray:
    """Mask as class indices and void (H, W), from stored values or declared colours.

    uint8, or int16 if there are more than 255 classes; see `void_of`. own: see `opened`.
    Grey of 1, 8 and 16 bits and palettes are read as numbers, grey saved as RGB too unless colours
    are declared. Raises DataError with pixel counts if colours or values are not declared.
    """
    with opened(path, "mask", own=own) as image:
        refuse_beyond_memory(image, path)
        if (trouble := inexact(image)) is not None:
            raise DataError(f"{path}: {trouble}; save the mask as an 8-bit PNG")
        # A GIF's palette holds only the colours in use, so its indices mean nothing by themselves.
        coloured = image.mode in ("RGB", "RGBA") or image.format == "GIF"
        if not coloured and image.mode not in _WHOLE:
            raise DataError(
                f"{path}: mask of mode {image.mode}; save class indices as an 8-bit grey or palette"
                " PNG"
            )
        palette = np.reshape(image.getpalette("RGB") or [], (-1, 3))  # empty without a palette
        bits = image.mode
        pixels = np.array(image.convert("RGBA") if coloured else image)
    if coloured:
        if classes.colours or not _is_grey(pixels):
            return _from_colours(pixels, path, classes)
        stored = _opaque(pixels, path, classes)[..., 0]
    elif bits == "LA":
        stored = _opaque(pixels, path, classes)[..., 0]
    else:
        stored = pixels
    if bits == "1":
        stored = of_one_bit(stored, classes)
    if classes.values:
        return _from_values(stored, path, classes)
    if stored.dtype == np.uint8:
        _refuse_other_order(stored, palette, path, classes)
    _refuse_other_values(stored, path, classes)
    return stored.astype(classes.kind, copy=False)  # 65535 becomes WIDE_VOID


def _is_grey(pixels: np.ndarray) -> bool:
    """Whether red, green and blue are equal everywhere."""
    return bool((pixels[..., :1] == pixels[..., 1:3]).all())


def _opaque(pixels: np.ndarray, path: Path, classes: ClassesFile) -> np.ndarray:
    """The same pixels. Raises DataError if their last channel, alpha, is not full."""
    clear = int((pixels[..., -1] < 255).sum())
    if clear:  # the colour of transparent pixels is arbitrary
        raise DataError(
            f"{path}: {clear} pixels are transparent; save the mask without alpha, or declare them "
            f"as a class in {classes.source}: `colours: {{{classes.names[0]}: transparent, ...}}`"
        )
    return pixels


def of_one_bit(white: np.ndarray, classes: ClassesFile) -> np.ndarray:
    """Values of a mask of black and white: 0 and 1, or 255 for white if that is declared."""
    value = VOID if classes.values and 1 not in classes.values else 1
    return white.astype(np.uint8) * np.uint8(value)


def _refuse_other_values(label: np.ndarray, path: Path, classes: ClassesFile) -> None:
    """Raise DataError on values other than the classes' indices and void."""
    count = len(classes.names)
    if label.max(initial=0) < count and label.min(initial=0) >= 0:
        return
    void = classes.stored_void
    wrong = ((label >= count) & (label != void)) | (label < 0)
    if wrong.any():
        values = np.unique(label[wrong])
        declared = _proposed(np.unique(label).tolist(), classes.names, void)
        raise DataError(
            f"{path}: label value {', '.join(map(str, values[:5]))} in {int(wrong.sum())} pixels; "
            f"allowed are 0 to {count - 1} ({count} classes) and {void} for void; if the masks "
            f"store other values, declare them in classes.yaml: {declared}"
        )


def _proposed(stored: list[int], names: tuple[str, ...], void: int) -> str:
    """What to write in classes.yaml for a mask of these values."""
    without = [value for value in stored if value != void]
    if without == list(range(len(names) + 1)):
        given, rest = without[1:], " and `void: 0` if the classes begin at 1 and 0 is unlabelled"
        rest += f", or `void: {without[-1]}` if that is"
    elif len(without) == len(names):
        given, rest = without, " if these are the classes, in order"
    elif len(stored) == len(names):
        given, rest = stored, " and `void: null` if these are the classes, in order"
    else:
        other = next(value for value in stored if value >= len(names) or value < 0)
        return f"`void: {other}`, or `values: {{{names[0]}: ..., ...}}`"
    pairs = ", ".join(f"{name}: {value}" for name, value in zip(names, given, strict=True))
    return f"`values: {{{pairs}}}`{rest}"


def _from_values(stored: np.ndarray, path: Path, classes: ClassesFile) -> np.ndarray:
    """Class indices of stored values (H, W)."""
    size = 256 if stored.dtype == np.uint8 else 1 + max(*classes.values, 255)
    index_of = np.full(size + 1, classes.void, classes.kind)
    known = np.zeros(size + 1, bool)
    for value, index in classes.values.items():
        index_of[min(value, size)], known[min(value, size)] = index, value < size
    place = stored
    if stored.dtype != np.uint8:
        place = np.where((stored >= 0) & (stored < size), stored, size)  # the last is unknown
    wrong = ~known[place]
    if wrong.any():
        values = ", ".join(map(str, np.unique(stored[wrong])[:5]))
        raise DataError(
            f"{path}: value {values} in {int(wrong.sum())} pixels is neither a class nor void; "
            f"declared are {', '.join(map(str, sorted(classes.values)))}"
        )
    return index_of[place]


def _from_colours(pixels: np.ndarray, path: Path, classes: ClassesFile) -> np.ndarray:
    """Class indices of RGBA pixels (H, W, 4)."""
    if not classes.colours:
        raise DataError(
            f"{path}: mask of colours, but {classes.source} declares none; add `colours: "
            f"{{{classes.names[0]}: [0, 0, 0], ...}}`, or save class indices (grey or palette PNG)"
            f"{PANOPTIC}"
        )
    clear = pixels[..., 3] == 0
    if classes.clear is None or (clear | (pixels[..., 3] == 255)).sum() < clear.size:
        _opaque(pixels, path, classes)
    label, unknown = indices_of_colours(pixels[..., :3], classes.colours)
    label = label.astype(classes.kind, copy=False)
    if classes.clear is not None:
        label[clear], unknown[clear] = classes.clear, False
    if unknown.any():
        values, counts = np.unique(pixels[unknown][:, :3], axis=0, return_counts=True)
        first = sorted(zip(counts.tolist(), values.tolist(), strict=True), reverse=True)[:5]
        found = ", ".join(f"{colour} in {count} pixels" for count, colour in first)
        panoptic = "panoptic" in path.parent.name or any(path.parents[1].glob("*panoptic*.json"))
        raise DataError(
            f"{path}: {len(values)} colours that {classes.source} does not declare: {found}; add "
            "them to its colours (void is allowed too), or save the mask without anti-aliasing"
            f"{PANOPTIC if panoptic else ''}"
        )
    return label


def _refuse_other_order(
    label: np.ndarray, palette: np.ndarray, path: Path, classes: ClassesFile
) -> None:
    """Raise DataError if a palette shows a class in another's declared colour.

    Programs that write palette images may number the colours in any order.
    """
    if not classes.colours:
        return
    index_of = {rgb: index for index, rgb in classes.colours.items()}
    for index in np.unique(label[label < min(len(palette), VOID)]).tolist():
        red, green, blue = palette[index].tolist()
        shown = red, green, blue
        if index_of.get(shown, index) != index:
            raise DataError(
                f"{path}: pixels of index {index} have the colour {list(shown)}, which "
                f"{classes.source} declares for index {index_of[shown]}; save the mask as RGB, or "
                "with indices in the order of the classes"
            )
