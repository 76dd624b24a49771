"""Custom data: a folder of images, a folder of masks, and a file that names the classes."""

import hashlib
import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import Tensor

from fcnexp import IMAGE_SUFFIXES, VOID
from fcnexp.data.files import (
    check_label,
    check_sizes,
    opened,
    read_label_png,
    read_lines,
    read_rgb,
    read_size,
    refuse_repeated,
)
from fcnexp.data.folders import find_layout, list_files, split_file
from fcnexp.data.palette import ClassesFile, indices_of_colours, read_classes
from fcnexp.data.sample import Sample, Samples
from fcnexp.data.splits import refuse_overlap
from fcnexp.errors import DataError

log = logging.getLogger(__name__)


@dataclass
class Folder:
    """Your own data: `images`, `masks` with a NAME.png for each, `classes.yaml` (`ClassesFile`).

    train_split, val_split: name of a list in the folder, without `.txt`, or a path; each line is an
        image's name, with or without extension. None: `train.txt` and `val.txt`; if neither exists,
        all images are split by a hash of their names.
    val_share: fraction of images then used for validation, in (0, 1). Adding images never moves
        others to another split.
    Raises ValueError if val_share is out of range.
    """

    root: str
    train_split: str | None
    val_split: str | None
    val_share: float

    provides = ("rgb",)
    _logged = False

    def __post_init__(self) -> None:
        """Check val_share."""
        if not 0 < self.val_share < 1:
            raise ValueError(f"val_share={self.val_share}: must be between 0 and 1, such as 0.2")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names from `classes.yaml`. Raises DataError with an example if there is none."""
        return self._classes.names

    def train(self, fields: tuple[str, ...]) -> Samples:
        """The training set. Raises DataError, also if it overlaps with the validation set."""
        samples = self._samples("train", self.train_split)
        what = f"{self.train_split or 'train'} and {self.val_split or 'val'} of {self.root}"
        refuse_overlap(samples.ids, self.val(fields).ids, what)
        return samples

    def val(self, fields: tuple[str, ...]) -> Samples:
        """The validation set. Raises DataError."""
        return self._samples("val", self.val_split)

    @cached_property
    def _classes(self) -> ClassesFile:
        return read_classes(Path(self.root).expanduser() / "classes.yaml")

    def _split_by_name(self, images: dict[str, Path], root: Path) -> dict[str, list[str]]:
        splits = split_by_name(images, self.val_share, root)
        if not self._logged:
            counts = len(splits["train"]), len(splits["val"])
            log.info(
                "%s: no lists; %d images for training, %d for validation, by name", root, *counts
            )
        self._logged = True
        return splits

    def _samples(self, name: str, split: str | None) -> "Pairs":
        root = find_layout(Path(self.root), ("images", "masks"), "data.root")
        images, masks = by_name(root / "images", IMAGE_SUFFIXES), by_name(root / "masks", (".png",))
        lists = [root / "train.txt", root / "val.txt"]
        listed = any(path.is_file() for path in lists)
        lists.append(Path(self.root).expanduser() / "classes.yaml")
        if listed or self.train_split or self.val_split:
            lists += list_files(root, split or name)
            ids = listed_names(split_file(root, split or name), images)
        else:
            lists.append(root / "images")
            ids = self._split_by_name(images, root)[name]
            _refuse_unpaired(masks, images, "masks have no image", root / "images")
        chosen = {image: images[image] for image in ids}
        _refuse_unpaired(chosen, masks, "images have no mask", root / "masks")
        return Pairs(chosen, masks, self._classes, lists)


class Pairs(Samples):
    """Images of any format and their masks, joined by the name without extension.

    images, masks: files by name; images sets the selection and the order.
    """

    def __init__(
        self,
        images: dict[str, Path],
        masks: dict[str, Path],
        classes: ClassesFile,
        lists: Sequence[Path] = (),
    ) -> None:
        self.ids, self.images, self.masks, self.classes = list(images), images, masks, classes
        self.lists = lists

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices
        """Read one image and its mask. Raises DataError naming the invalid file."""
        name = self.ids[index]
        image, mask = self.images[name], self.masks[name]
        rgb, label = read_rgb(image), self.read_label(index)
        check_sizes({image: rgb.shape[-2:], mask: label.shape})
        return Sample(name, {"rgb": rgb}, label)

    def paths(self, index: int) -> list[Path]:
        """Image and mask of one sample."""
        name = self.ids[index]
        return [self.images[name], self.masks[name]]

    def read_label(self, index: int) -> Tensor:
        """Read one mask without its image. Raises DataError naming the invalid file."""
        path = self.masks[self.ids[index]]
        return check_label(read_mask(path, self.classes), path, len(self.classes.names))

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of one image, from its header."""
        return read_size(self.images[self.ids[index]])


def by_name(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """Sorted files with one of these suffixes, in any case, by name without suffix.

    Raises DataError if there are none, or two with the same name.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            raise DataError(
                f"{path}: {found[path.stem].name} has the same name except for the extension; "
                "rename one of them and its mask"
            )
        found[path.stem] = path
    if not found:
        raise DataError(f"{folder}: contains no {', '.join(suffixes)}; put the {folder.name} there")
    return found


def listed_names(path: Path, images: dict[str, Path]) -> list[str]:
    """Names in a list, without extension; a line is one name, which may contain spaces.

    Raises DataError if a name has no image or is listed twice.
    """
    by_file = {image.name: name for name, image in images.items()}
    lines = read_lines(path)
    unknown = [line for line in lines if line not in images and line not in by_file]
    if unknown:
        raise DataError(
            f"{path}: {unknown[0]}: no such image ({len(unknown)} of {len(lines)} lines name none);"
            f" list file names in images, such as {next(iter(by_file))}, without folder"
        )
    ids = [line if line in images else by_file[line] for line in lines]
    refuse_repeated(ids, path)
    return ids


def split_by_name(names: Collection[str], val_share: float, root: Path) -> dict[str, list[str]]:
    """Names by split, `train` and `val`, assigned by a hash of each name.

    root: for the message. Raises DataError if a split is empty.
    """
    splits: dict[str, list[str]] = {"train": [], "val": []}
    for name in names:
        digest = hashlib.sha256(os.fsencode(name)).digest()
        in_val = int.from_bytes(digest[:8], "big") < val_share * 2**64
        splits["val" if in_val else "train"].append(name)
    for split, ids in splits.items():
        if not ids:
            raise DataError(
                f"{root}: the split by name of {len(names)} images leaves none in {split} "
                f"(data.val_share={val_share}); write the lists train.txt and val.txt"
            )
    return splits


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
    return label


def _from_values(stored: np.ndarray, path: Path, classes: ClassesFile) -> np.ndarray:
    """Class indices of stored values, uint8 (H, W)."""
    index_of, known = np.full(256, VOID, np.uint8), np.zeros(256, bool)
    index_of[list(classes.values)], known[list(classes.values)] = list(classes.values.values()), True
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


def _refuse_unpaired(names: dict[str, Path], others: dict[str, Path], what: str, at: Path) -> None:
    alone = [path for name, path in names.items() if name not in others]
    if alone:
        raise DataError(
            f"{alone[0]}: {len(alone)} of {len(names)} {what} in {at}, this one first; the mask of "
            "images/NAME.jpg (or .png ...) is masks/NAME.png: rename, add or remove files"
        )
