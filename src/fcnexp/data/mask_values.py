"""The values or colours that masks store, and what they stand for, whether declared or not."""

from pathlib import Path

import numpy as np

from fcnexp.data.files import opened
from fcnexp.data.masks import of_one_bit
from fcnexp.data.palette import ClassesFile

Value = int | tuple[int, ...]  # a number, or RGB, or RGBA where it is not opaque

MOST = 300  # values kept of one mask: blurred colours make thousands


def stored_values(path: Path, classes: ClassesFile, *, own: bool) -> dict[Value, int]:
    """Pixels by stored value or colour, the most frequent MOST.

    own: see `opened`. Raises DataError. Palette images count as numbers, as `read_mask` reads them.
    """
    with opened(path, "mask", own=own) as image:
        coloured = image.mode not in ("1", "L", "P", "I") and not image.mode.startswith("I;16")
        pixels = np.array(image.convert("RGBA") if coloured or image.format == "GIF" else image)
        if image.mode == "1":
            pixels = of_one_bit(pixels, classes)
    if pixels.ndim == 2:
        values, counts = np.unique(pixels.astype(np.int64), return_counts=True)
        found: dict[Value, int] = dict(zip(values.tolist(), counts.tolist(), strict=True))
    else:
        codes = np.ascontiguousarray(pixels).view(np.uint32)[..., 0]
        values, counts = np.unique(codes, return_counts=True)
        colours = np.ascontiguousarray(values).view(np.uint8).reshape(-1, 4).tolist()
        found = dict(zip(map(_named, colours), counts.tolist(), strict=True))
    return dict(sorted(found.items(), key=lambda each: -each[1])[:MOST])


def _named(rgba: list[int]) -> Value:
    red, green, blue, alpha = rgba
    if alpha < 255:
        return red, green, blue, alpha
    return red if red == green == blue else (red, green, blue)


def meaning(value: Value, classes: ClassesFile) -> str:
    """Name of the class that a stored value stands for, `void`, or `not declared`."""
    names = dict(enumerate(classes.names)) | {classes.void: "void"}
    if isinstance(value, tuple) and len(value) == 4:
        if value[3] > 0 or classes.clear is None:
            return "not declared"
        return names[classes.clear]
    if classes.colours:
        rgb = (value,) * 3 if isinstance(value, int) else value
        by_colour = {colour: index for index, colour in classes.colours.items()}
        if rgb in by_colour:
            return names[by_colour[rgb]]
    if isinstance(value, tuple):
        return "not declared"
    if classes.values:
        return names[classes.values[value]] if value in classes.values else "not declared"
    if value == classes.stored_void:
        return "void"
    return names.get(value, "not declared") if value >= 0 else "not declared"


def written(value: Value) -> str:
    """The value as classes.yaml writes it."""
    return str(list(value)) if isinstance(value, tuple) else str(value)
