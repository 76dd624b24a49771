"""Masks of custom data: class indices, declared values, or declared colours."""

from pathlib import Path

import numpy as np

from fcnexp import VOID
from fcnexp.data.files import opened, read_label_png
from fcnexp.data.palette import ClassesFile, indices_of_colours
from fcnexp.errors import DataError


def read_mask(path: Path, classes: ClassesFile) -> np.ndarray:
    """Mask as class indices and VOID, uint8 (H, W), from stored values or declared colours.

    Raises DataError with pixel counts if colours or values are not declared.
    """
    with opened(path, "mask") as image:
        coloured = image.mode in ("RGB", "RGBA") and image.format == "PNG"
        palette = np.reshape(image.getpalette("RGB") or [], (-1, 3))  # empty without a palette
        pixels = np.array(image.convert("RGBA")) if coloured else None
    if pixels is not None:
        return _from_colours(pixels, path, classes)
    label = read_label_png(path)
    if classes.values:
        return _from_values(label, path, classes)
    _refuse_other_order(label, palette, path, classes)
    _refuse_other_values(label, path, classes)
    return label


def _refuse_other_values(label: np.ndarray, path: Path, classes: ClassesFile) -> None:
    """Raise DataError on values other than the classes' indices and void."""
    count = len(classes.names)
    if label.max(initial=0) < count:
        return
    wrong = (label >= count) & (label != VOID)
    if wrong.any():
        values = np.unique(label[wrong])
        raise DataError(
            f"{path}: label value {', '.join(map(str, values[:5]))} in {int(wrong.sum())} pixels; "
            f"allowed are 0 to {count - 1} ({count} classes) and {VOID} for void; if the masks "
            f"store other values, declare them in classes.yaml: `void: {values[0]}`, or `values: "
            f"{{{classes.names[0]}: ..., ...}}`"
        )


def _from_values(stored: np.ndarray, path: Path, classes: ClassesFile) -> np.ndarray:
    """Class indices of stored values, uint8 (H, W)."""
    index_of, known = np.full(256, VOID, np.uint8), np.zeros(256, bool)
    for value, index in classes.values.items():
        index_of[value], known[value] = index, True
    wrong = ~known[stored]
    if wrong.any():
        values = ", ".join(map(str, np.unique(stored[wrong])[:5]))
        raise DataError(
            f"{path}: value {values} in {int(wrong.sum())} pixels is neither a class nor void; "
            f"declared are {', '.join(map(str, sorted(classes.values)))}"
        )
    return index_of[stored]


def _from_colours(pixels: np.ndarray, path: Path, classes: ClassesFile) -> np.ndarray:
    """Class indices of RGBA pixels (H, W, 4)."""
    if not classes.colours:
        raise DataError(
            f"{path}: mask of colours, but classes.yaml declares none; add `colours: "
            f"{{{classes.names[0]}: [0, 0, 0], ...}}`, or save class indices (grey or palette PNG)"
        )
    clear = int((pixels[..., 3] < 255).sum())
    if clear:  # the colour of transparent pixels is arbitrary
        raise DataError(f"{path}: {clear} pixels are transparent; save the mask without alpha")
    label, unknown = indices_of_colours(pixels[..., :3], classes.colours)
    if unknown.any():
        values, counts = np.unique(pixels[unknown][:, :3], axis=0, return_counts=True)
        first = sorted(zip(counts.tolist(), values.tolist(), strict=True), reverse=True)[:5]
        found = ", ".join(f"{colour} in {count} pixels" for count, colour in first)
        raise DataError(
            f"{path}: {len(values)} colours that classes.yaml does not declare: {found}; add them "
            "to its colours (void is allowed too), or save the mask without anti-aliasing"
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
                f"{path}: pixels of index {index} have the colour {list(shown)}, which classes.yaml"
                f" declares for index {index_of[shown]}; save the mask as RGB, or with indices in "
                "the order of the classes"
            )
