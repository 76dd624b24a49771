"""Custom data: images, masks, and a file that names the classes, as people and tools keep them."""

import hashlib
import logging
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fcnexp.data.first_look import look_at
from fcnexp.data.labelmap import classes_file, read_class_file
from fcnexp.data.layouts import Part, find_base, find_parts
from fcnexp.data.mask_names import SAME, masks_of, pattern_of
from fcnexp.data.own_lists import find_lists, list_named, read_listed
from fcnexp.data.pairs import Pairs
from fcnexp.data.palette import ClassesFile
from fcnexp.data.sample import Samples
from fcnexp.data.splits import refuse_overlap
from fcnexp.errors import DataError

log = logging.getLogger(__name__)

FAR = 0.5  # of a validation set's size from the one asked for, relative, so that it is warned of


@dataclass
class Folder:
    """Your own data: `images`, `masks` with a NAME.png for each, `classes.yaml` (`ClassesFile`).

    `layouts` lists the other folders that are read, `labelmap` the other files of class names.

    train_split, val_split: name of a list in the folder, without `.txt`, or a path, see
        `read_listed`. None: the lists of `find_lists`; if there are none, the folders `train` and
        `val`; without these, all images are split by a hash of their names.
    val_share: about the fraction of images then used for validation, in (0, 1). Adding images never
        moves others to another split, so the fraction varies in small sets.
    masks: file name of a mask, such as NAME_mask.png; None: that of classes.yaml, or found.
    upright: whether masks were drawn on photographs turned as their EXIF notes say, if their sizes
        cannot tell; None: refuse these photographs.
    Raises ValueError if val_share is out of range.
    """

    root: str
    train_split: str | None
    val_split: str | None
    val_share: float
    masks: str | None = None
    upright: bool | None = None
    _logged: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    provides = ("rgb",)

    def __post_init__(self) -> None:
        """Check val_share."""
        if not 0 < self.val_share < 1:
            raise ValueError(f"val_share={self.val_share}: must be between 0 and 1, such as 0.2")
        if self.upright not in (None, True, False):
            raise ValueError(f"upright={self.upright}: must be true, false or null")

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
    def _class_file(self) -> Path:
        root = Path(self.root).expanduser()
        own = classes_file(root)
        if not own.is_file():
            own = classes_file(find_base(root))
        if not own.is_file():
            find_parts(find_base(root))  # says if this is not the folder of images and masks at all
        return own

    @cached_property
    def _classes(self) -> ClassesFile:
        return read_class_file(self._class_file)

    def _samples(self, name: str, split: str | None) -> Pairs:
        base = find_base(Path(self.root))
        parts = find_parts(base)
        images = _joined(parts)
        masks = [path for part in parts for path in part.masks]
        found = find_lists(base)
        listed = bool(found or self.train_split or self.val_split)
        lists = [base / "train.txt", base / "val.txt", *found.values(), self._class_file]
        own: dict[str, Path] = {}  # masks that a list names
        if listed:
            path = list_named(base, name, split, found)
            lists.append(path)
            ids, own = read_listed(path, images, masks)
        else:
            lists += sorted({path.parent for path in images.values()})
            ids = self._ids_without_lists(parts, base)[name]
        chosen = {image: images[image] for image in ids}
        # Without lists every mask must have an image, which may be in the other split.
        used = chosen if listed else images
        wanted = {image: path for image, path in used.items() if image not in own}
        at = parts[0].masks_in
        given = self.masks or self._classes.masks
        pattern = pattern_of(wanted, masks, given, at)
        told = given is not None
        paired = masks_of(wanted, masks, pattern, folder=at, all_used=not listed, told=told)
        if pattern != SAME:
            self._say("pattern", "%s: masks of %s are named %s", at, pattern.image, pattern)
        pairs = Pairs(chosen, paired | own, self._classes, lists, upright=self.upright, own=True)
        if name not in self._logged:
            self._logged.add(name)
            look_at(pairs, name)
        return pairs

    def _ids_without_lists(self, parts: list[Part], base: Path) -> dict[str, list[str]]:
        if len(parts) > 1:
            return {part.split: list(part.images) for part in parts if part.split is not None}
        splits = split_by_name(parts[0].images, self.val_share, base)
        train, val = len(splits["train"]), len(splits["val"])
        text = f"{base}: no lists; {train} images for training, {val} for validation, by name"
        if abs(val / (train + val) / self.val_share - 1) <= FAR:
            self._say("splits", "%s", text)
        else:
            asked = f"{self.val_share:.0%} were asked, but small sets vary"
            self._say(
                "splits",
                "%s: %s; better choose them: write train.txt and val.txt into %s, a "
                "file name in each line",
                text,
                asked,
                base,
                level=logging.WARNING,
            )
        return splits

    def _say(self, what: str, text: str, *values: object, level: int = logging.INFO) -> None:
        """Log something once."""
        if what not in self._logged:
            log.log(level, text, *values)
        self._logged.add(what)


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


def _joined(parts: list[Part]) -> dict[str, Path]:
    """Images of all parts by name. Raises DataError if two have the same."""
    found: dict[str, Path] = {}
    for part in parts:
        if both := sorted(found.keys() & part.images.keys()):
            path = part.images[both[0]]
            raise DataError(
                f"{path}: {found[both[0]]} has the same name, and so have {len(both) - 1} others; "
                f"rename the images of {part.split} and their masks, such as "
                f"{part.split}_{path.name}"
            )
        found |= part.images
    return found
