"""Class colours: VOC's colour map, palette images on disk, and a user's classes.yaml."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from fcnexp import MOST_CLASSES, VOID, WIDE_VOID, label_type, void_of
from fcnexp.errors import DataError
from fcnexp.system.bounded import read_yaml
from fcnexp.system.os_errors import reraise_system_error
from fcnexp.system.visible import visible

_KEYS = ("classes", "colours", "values", "void", "masks")
_LARGEST = 65535  # value of 16-bit masks
_WRITE = "write `classes: [background, road]`, in the order of the masks' indices"


def voc_palette(num_colours: int = 256) -> np.ndarray:
    """Colour of each class index in VOC's colour map, uint8 (num_colours, 3), RGB.

    Each group of three index bits gives one bit of R, G and B, from the highest down: class 1 is
    (128, 0, 0), VOID, 255, is (224, 224, 192). Source: the VOC development kit's colour map.
    """
    index = np.arange(num_colours)
    palette = np.zeros((num_colours, 3), np.uint8)
    for place in range(8):
        for channel in range(3):
            bit = (index >> (3 * place + channel)) & 1
            palette[:, channel] |= (bit << (7 - place)).astype(np.uint8)
    return palette


def save_indexed(path: Path, label: np.ndarray) -> None:
    """Write a label map (H, W) as a PNG whose pixel values are class indices.

    uint8 gives a palette PNG with VOC's colours; int16 16-bit grey, with 65535 for void.
    """
    if void_of(label) == WIDE_VOID:
        Image.fromarray(label.astype(np.uint16)).save(path)
        return
    image = Image.fromarray(label)
    image.putpalette(voc_palette().tobytes())  # a single-channel image becomes a palette image
    image.save(path)


def indices_of_colours(
    pixels: np.ndarray, colours: dict[int, tuple[int, int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Class index of each pixel by colour, (H, W), and bool (H, W), True for other colours.

    pixels: uint8 (H, W, 3). colours: RGB by class index or void, at least one, all different.
    Indices are uint8, or int16 if one is above 255 or WIDE_VOID.
    """
    red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
    codes = (red << 16) + (green << 8) + blue
    by_code = sorted((r << 16) + (g << 8) + b for r, g, b in colours.values())
    index_of = {(r << 16) + (g << 8) + b: index for index, (r, g, b) in colours.items()}
    place = np.searchsorted(by_code, codes).clip(max=len(by_code) - 1)
    indices = [index_of[code] for code in by_code]
    narrow = min(indices) >= 0 and max(indices) <= VOID
    label = np.array(indices, np.uint8 if narrow else np.int16)[place]
    return label, np.array(by_code)[place] != codes


class ClassesFile(NamedTuple):
    """Content of classes.yaml.

    names: by index. colours: RGB by index or void, may be empty. values: index or void by value in
    the masks; empty if masks store indices, with `stored_void` for void. masks: file name of a
    mask, with NAME for the image's; None if not given. source: the file, for messages. clear: index
    or void of transparent pixels; None if they are not allowed.
    """

    names: tuple[str, ...]
    colours: dict[int, tuple[int, int, int]]
    values: Mapping[int, int] = {}  # no proxy: it is pickled for the processes that read
    masks: str | None = None
    source: str = "classes.yaml"
    clear: int | None = None

    @property
    def kind(self) -> str:
        """Integer type of the label maps, `uint8` or `int16`."""
        return label_type(len(self.names))

    @property
    def void(self) -> int:
        """Value of void in label maps."""
        return _void(self.names)

    @property
    def stored_void(self) -> int:
        """Value of void in masks of indices: the largest of 8 bits, or of 16 if it is a class."""
        return VOID if self.kind == "uint8" else _LARGEST


def _void(names: tuple[str, ...]) -> int:
    return VOID if label_type(len(names)) == "uint8" else WIDE_VOID


def read_classes(path: Path) -> ClassesFile:
    """Read a file with the key `classes` and, if needed, `colours`, `values` and `void`.

    classes: a list of names. colours: RGB by name, optionally of `void` too, or a list of RGB in
    the order of the classes; `transparent` for one of them. values: the masks' value of each class,
    by name or as a list in the order of the classes. void: a value or a list of values; null for
    none. masks: file name of a mask, such as NAME_mask.png.
    Raises DataError saying what to write.
    """
    try:
        content = read_yaml(path)  # it knows UTF-16 by its mark
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; {_WRITE}") from None
    except OSError as error:
        reraise_system_error(error)
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{path}: {error}; {_WRITE}") from None
    if not isinstance(content, dict) or "classes" not in content:
        raise DataError(f"{path}: has no key classes; {_WRITE}")
    if others := [str(key) for key in content if key not in _KEYS]:
        raise DataError(f"{path}: {others[0]}: no such key; choose one of {', '.join(_KEYS)}")
    return classes_of(content, path)


def classes_of(content: dict[str, Any], path: Path) -> ClassesFile:
    """Check the content of classes.yaml, or the same from another file. Raises DataError."""
    names = _names(content["classes"], path)
    colours, clear = _colours(content.get("colours"), names, path)
    masks = content.get("masks")
    if masks is not None and not isinstance(masks, str):
        raise DataError(f"{path}: masks is {masks!r}; give a file name, such as NAME_mask.png")
    if not content.keys() & {"values", "void"}:
        return ClassesFile(names, colours, masks=masks, source=path.name, clear=clear)
    values = _with_void(content, _values(content.get("values"), names, path), names, path)
    return ClassesFile(names, colours, values, masks, path.name, clear)


def _names(given: Any, path: Path) -> tuple[str, ...]:
    if not isinstance(given, list) or not given:
        raise DataError(f"{path}: classes is {given!r}, not a list of names; {_WRITE}")
    if len(given) > MOST_CLASSES:
        raise DataError(f"{path}: {len(given)} classes; at most {MOST_CLASSES} are allowed")
    seen: set[str] = set()
    for name in given:
        if not isinstance(name, str) or not name.strip():  # YAML reads no, off and 3 as values
            raise DataError(f"{path}: class {name!r} is not a name; write it in quotes")
        if visible(name) != name or "\n" in name:
            raise DataError(f"{path}: class {name!r} holds control characters; remove them")
        if name in seen:
            raise DataError(f"{path}: class {name} is listed twice; give each another name")
        if name == "void":
            raise DataError(
                f"{path}: void is not a class; remove it: index 255, or the colour of `void` under "
                "colours, is neither trained on nor scored"
            )
        seen.add(name)
    return tuple(given)


def _colours(
    given: Any, names: tuple[str, ...], path: Path
) -> tuple[dict[int, tuple[int, int, int]], int | None]:
    """Colours by index, and the index of the class that is transparent instead, if any."""
    if given is None:
        return {}, None
    if isinstance(given, list):
        given = dict(zip(names, given, strict=False)) if len(given) == len(names) else None
    if not isinstance(given, dict) or set(given) - {"void"} != set(names):
        known = set(given) if isinstance(given, dict) else set()
        wrong = ", ".join(sorted(map(str, (known - {"void"}) ^ set(names)))) or "its length"
        raise DataError(
            f"{path}: colours do not match classes ({wrong}); give one [red, green, blue] for each "
            "class, and for void if masks show it"
        )
    index = dict(zip(names, range(len(names)), strict=True)) | {"void": _void(names)}
    colours: dict[int, tuple[int, int, int]] = {}
    clear = None
    for name, rgb in given.items():
        if rgb == "transparent" and clear is None:
            clear = index[name]
            continue
        integers = isinstance(rgb, list) and all(type(value) is int for value in rgb)
        if not integers or len(rgb) != 3 or min(rgb) < 0 or max(rgb) > 255:
            raise DataError(f"{path}: colour of {name} is {rgb!r}; give [red, green, blue], 0-255")
        if tuple(rgb) in colours.values():
            raise DataError(f"{path}: colour of {name}, {rgb}, is used twice; choose another one")
        colours[index[name]] = (rgb[0], rgb[1], rgb[2])
    return colours, clear


def _values(given: Any, names: tuple[str, ...], path: Path) -> dict[int, int]:
    """Class index by value in the masks; the indices themselves if none are given."""
    if given is None:
        given = list(range(len(names)))
    if isinstance(given, list) and len(given) == len(names):
        given = dict(zip(names, given, strict=True))
    if not isinstance(given, dict) or set(given) != set(names):
        known = set(given) if isinstance(given, dict) else set()
        wrong = ", ".join(sorted(map(str, known ^ set(names)))) or "its length"
        raise DataError(
            f"{path}: values do not match classes ({wrong}); give the masks' value of each class, "
            f"such as `values: {{{names[0]}: 0, ...}}`"
        )
    index_of: dict[int, int] = {}
    for index, name in enumerate(names):
        value = _value(given[name], f"value of {name}", path)
        if value in index_of:
            raise DataError(
                f"{path}: value {value} is given to {names[index_of[value]]} and {name}; give each "
                "class its own"
            )
        index_of[value] = index
    return index_of


def _with_void(
    content: dict[str, Any], index_of: dict[int, int], names: tuple[str, ...], path: Path
) -> dict[int, int]:
    """Add the values that are void: those given, or `stored_void` if no class has it."""
    void_index = _void(names)
    if "void" not in content:
        return {ClassesFile(names, {}).stored_void: void_index} | index_of
    given = content["void"]
    void = given if isinstance(given, list) else [] if given is None else [given]
    for value in void:
        if _value(value, "void", path) in index_of:
            raise DataError(
                f"{path}: void is {value}, the value of a class too; change one of them, or give "
                "the classes' values under `values`"
            )
    return index_of | dict.fromkeys(void, void_index)


def _value(given: Any, what: str, path: Path) -> int:
    if type(given) is not int or not 0 <= given <= _LARGEST:
        raise DataError(f"{path}: {what} is {given!r}; give a whole number from 0 to {_LARGEST}")
    return given
