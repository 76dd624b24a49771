"""Custom data: a folder of images, a folder of masks, and a file that names the classes."""

import hashlib
import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from fcnexp import IMAGE_SUFFIXES
from fcnexp.data.files import (
    check_sizes,
    read_lines,
    read_rgb,
    read_size,
    refuse_repeated,
)
from fcnexp.data.folders import find_layout, list_files, split_file
from fcnexp.data.masks import read_mask
from fcnexp.data.palette import ClassesFile, read_classes
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
        return torch.from_numpy(read_mask(path, self.classes))

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


def _refuse_unpaired(names: dict[str, Path], others: dict[str, Path], what: str, at: Path) -> None:
    alone = [path for name, path in names.items() if name not in others]
    if alone:
        raise DataError(
            f"{alone[0]}: {len(alone)} of {len(names)} {what} in {at}, this one first; the mask of "
            "images/NAME.jpg (or .png ...) is masks/NAME.png: rename, add or remove files"
        )
