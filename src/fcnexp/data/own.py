"""A user's own images and masks: a folder of each, and a file that names the classes."""

import hashlib
import logging
import os
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from fcnexp import VOID
from fcnexp.data.files import (
    SUFFIXES,
    check_label,
    check_sizes,
    read_label_png,
    read_lines,
    read_rgb,
    read_size,
    refuse_repeated,
)
from fcnexp.data.layout import find_layout, split_file
from fcnexp.data.palette import ClassesFile, indices_of_colours, read_classes
from fcnexp.data.sample import Sample, Samples
from fcnexp.data.splits import refuse_overlap
from fcnexp.errors import DataError
from fcnexp.system.os_errors import let_through

log = logging.getLogger(__name__)


@dataclass
class Folder:
    """Your own data: `images`, `masks` with a NAME.png for each, `classes.yaml` (`ClassesFile`).

    train_split, val_split: a list's name in the folder, without `.txt`, or the path of one; a line
        is an image's name, with or without extension. None: `train.txt`, `val.txt`; where there
        are neither, all images are shared out.
    val_share: the share of images that is scored then, in (0, 1). Each image's half depends on its
        name alone, so that adding images never moves others.
    Raises ValueError on another share.
    """

    root: str
    train_split: str | None
    val_split: str | None
    val_share: float

    provides = ("rgb",)
    _told = False

    def __post_init__(self) -> None:
        """Check the share."""
        if not 0 < self.val_share < 1:
            raise ValueError(f"val_share={self.val_share}: a share between 0 and 1, such as 0.2")

    @property
    def class_names(self) -> tuple[str, ...]:
        """As `classes.yaml` has them. Raises DataError saying what to write where there is none."""
        return self._classes.names

    def train(self, fields: tuple[str, ...]) -> Samples:
        """The training half, which shares no image with the other. Raises DataError."""
        half = self._half("train", self.train_split)
        what = f"{self.train_split or 'train'} and {self.val_split or 'val'} of {self.root}"
        refuse_overlap(half.ids, self.val(fields).ids, what)
        return half

    def val(self, fields: tuple[str, ...]) -> Samples:
        """The scored half. Raises DataError."""
        return self._half("val", self.val_split)

    @cached_property
    def _classes(self) -> ClassesFile:
        return read_classes(Path(self.root).expanduser() / "classes.yaml")

    def _shared_out(self, images: dict[str, Path], root: Path) -> dict[str, list[str]]:
        """Names by half, told once."""
        halves = shared_out(images, self.val_share, root)
        if not self._told:
            counts = [len(halves[half]) for half in ("train", "val")]
            log.info("%s: no lists; by their names %d images train, %d are scored", root, *counts)
        self._told = True
        return halves

    def _half(self, name: str, split: str | None) -> "Pairs":
        root = find_layout(Path(self.root), ("images", "masks"), "data.root")
        images, masks = by_name(root / "images", SUFFIXES), by_name(root / "masks", (".png",))
        listed = any((root / f"{half}.txt").is_file() for half in ("train", "val"))
        if listed or self.train_split or self.val_split:
            ids = listed_names(split_file(root, split or name), images)
        else:
            ids = self._shared_out(images, root)[name]
            _refuse_unpaired(masks, images, "masks have no image", root / "images")
        chosen = {one: images[one] for one in ids}
        _refuse_unpaired(chosen, masks, "images have no mask", root / "masks")
        return Pairs(chosen, masks, self._classes)


class Pairs(Samples):
    """Images of any format and their masks, joined by the name without extension.

    images, masks: files by name; the first tell which, and in what order.
    """

    def __init__(
        self, images: dict[str, Path], masks: dict[str, Path], classes: ClassesFile
    ) -> None:
        self.ids, self.images, self.masks, self.classes = list(images), images, masks, classes

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices
        """Read one image and its mask. Raises DataError naming the file that is wrong."""
        name = self.ids[index]
        image, mask = self.images[name], self.masks[name]
        rgb, label = read_rgb(image), self.read_label(index)
        check_sizes({image: rgb.shape[-2:], mask: label.shape})
        return Sample(name, {"rgb": rgb}, label)

    def read_label(self, index: int) -> Tensor:
        """Read one mask, and no image. Raises DataError naming the file that is wrong."""
        path = self.masks[self.ids[index]]
        return check_label(read_mask(path, self.classes), path, len(self.classes.names))

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of one image, from its header."""
        return read_size(self.images[self.ids[index]])


def by_name(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """Files with one of these suffixes, in any case, by name without it, sorted.

    Raises DataError where there is none, or two of one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            raise DataError(
                f"{path}: {found[path.stem].name} has the same name but for the extension; rename "
                "one of them, and its mask"
            )
        found[path.stem] = path
    if not found:
        raise DataError(f"{folder}: holds no {', '.join(suffixes)}; put the {folder.name} there")
    return found


def listed_names(path: Path, images: dict[str, Path]) -> list[str]:
    """Names in a list, without extension. Raises DataError on one without image, or listed twice.

    A line is one name, spaces and all; VOC's lists, in contrast, have columns.
    """
    by_file = {image.name: name for name, image in images.items()}
    lines = read_lines(path)
    unknown = [line for line in lines if line not in images and line not in by_file]
    if unknown:
        raise DataError(
            f"{path}: {unknown[0]}: no such image ({len(unknown)} of {len(lines)} lines name none);"
            f" a line is a file's name in images, such as {next(iter(by_file))}, without folder"
        )
    ids = [line if line in images else by_file[line] for line in lines]
    refuse_repeated(ids, path)
    return ids


def shared_out(names: Collection[str], val_share: float, root: Path) -> dict[str, list[str]]:
    """Names by half, `train` and `val`; each by a hash of itself. Raises DataError on an empty one.

    root: for the message.
    """
    halves: dict[str, list[str]] = {"train": [], "val": []}
    for name in names:
        digest = hashlib.sha256(os.fsencode(name)).digest()
        halves["val" if int.from_bytes(digest[:8], "big") < val_share * 2**64 else "train"] += [
            name
        ]
    for half, ids in halves.items():
        if not ids:
            raise DataError(
                f"{root}: of {len(names)} images, shared out by their names, none is in {half} "
                f"(data.val_share={val_share}); write lists, train.txt and val.txt"
            )
    return halves


def read_mask(path: Path, classes: ClassesFile) -> np.ndarray:
    """Mask as class indices and VOID, uint8 (H, W), from indices or from the declared colours.

    Raises DataError on colours that are not declared, naming them and their pixels.
    """
    try:
        with Image.open(path) as image:
            coloured = image.mode in ("RGB", "RGBA") and image.format == "PNG"
            palette = np.reshape(image.getpalette("RGB") or [], (-1, 3))  # empty where it has none
            pixels = np.array(image.convert("RGBA")) if coloured else None
    except Exception as error:  # Pillow raises many types, by format
        let_through(error)
        raise DataError(f"{path}: damaged or not an image ({error}); fetch it again") from None
    if pixels is not None:
        return _from_colours(pixels, path, classes)
    label = read_label_png(path)
    _refuse_other_order(label, palette, path, classes)
    return label


def _from_colours(pixels: np.ndarray, path: Path, classes: ClassesFile) -> np.ndarray:
    """Indices of RGBA pixels (H, W, 4)."""
    if not classes.colours:
        raise DataError(
            f"{path}: a mask of colours, but classes.yaml declares none; add `colours: "
            f"{{{classes.names[0]}: [0, 0, 0], ...}}`, or save class indices (grey or palette PNG)"
        )
    clear = int((pixels[..., 3] < 255).sum())
    if clear:  # what colour lies under it is up to the program that wrote it
        raise DataError(f"{path}: {clear} pixels are transparent; save the mask without alpha")
    label, unknown = indices_of_colours(pixels[..., :3], classes.colours)
    if unknown.any():
        values, counts = np.unique(pixels[unknown][:, :3], axis=0, return_counts=True)
        first = sorted(zip(counts.tolist(), values.tolist(), strict=True), reverse=True)[:5]
        found = ", ".join(f"{colour} in {count} pixels" for count, colour in first)
        raise DataError(
            f"{path}: {len(values)} colours that classes.yaml does not declare: {found}; add them "
            "to its colours (void is allowed there), or save the mask without smooth edges"
        )
    return label


def _refuse_other_order(
    label: np.ndarray, palette: np.ndarray, path: Path, classes: ClassesFile
) -> None:
    """Raise DataError where a palette shows a class in the declared colour of another.

    Programs that write palettes number the colours as they please.
    """
    index_of = {rgb: index for index, rgb in classes.colours.items()}
    for index in np.unique(label[label < min(len(palette), VOID)]).tolist():
        red, green, blue = palette[index].tolist()
        shown = red, green, blue
        if index_of.get(shown, index) != index:
            raise DataError(
                f"{path}: pixels of index {index} have the colour {list(shown)}, which classes.yaml"
                f" declares for index {index_of[shown]}; save the mask as RGB, or with its indices "
                "in the order of the classes"
            )


def _refuse_unpaired(names: dict[str, Path], others: dict[str, Path], what: str, at: Path) -> None:
    alone = [path for name, path in names.items() if name not in others]
    if alone:
        raise DataError(
            f"{alone[0]}: {len(alone)} of {len(names)} {what} in {at}, this one first; a mask is "
            "masks/NAME.png for images/NAME.jpg (or .png ...): rename, add or remove"
        )
