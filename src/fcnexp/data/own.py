"""Custom data: images, masks, and a file that names the classes, as people and tools keep them."""

import hashlib
import logging
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fcnexp import IMAGE_SUFFIXES
from fcnexp.data.bands import BAND_SUFFIXES
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
from fcnexp.system.bands_file import BandsFile, digest_of, how_to_write, place_of, read_bands_file

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
    bands: file that describes the bands of images of any number of them; None: bands.yaml in root.
    Raises ValueError if val_share is out of range.
    """

    root: str
    train_split: str | None
    val_split: str | None
    val_share: float
    masks: str | None = None
    upright: bool | None = None
    bands: str | None = None
    _logged: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    _scanned: dict[tuple[str, ...], tuple[Path, list[Part]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    provides = ("rgb", "bands")

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

    @property
    def usual(self) -> tuple[str, ...]:
        """What the images hold: `bands` if a bands.yaml describes them, else `rgb`."""
        return ("bands",) if self.bands_file.is_file() else ("rgb",)

    @property
    def bands_file(self) -> Path:
        """Path of bands.yaml."""
        return place_of(self.root, self.bands)

    def train(self, fields: tuple[str, ...]) -> Samples:
        """The training set. Raises DataError, also if it overlaps with the validation set.

        Or if bands are read and bands.yaml holds the statistics of other images.
        """
        samples = self._samples("train", self.train_split, self._described(fields))
        what = f"{self.train_split or 'train'} and {self.val_split or 'val'} of {self.root}"
        refuse_overlap(samples.ids, self.val(fields).ids, what)
        if samples.bands is not None and "bands" in fields:
            self._refuse_stale(samples.bands, samples.images)
        return samples

    def val(self, fields: tuple[str, ...]) -> Samples:
        """The validation set. Raises DataError."""
        return self._samples("val", self.val_split, self._described(fields))

    def undescribed(self) -> Pairs:
        """Images of bands and masks for training, whose bands are not known yet: to be described.

        Raises DataError.
        """
        return self._samples("train", self.train_split, None, undescribed=True)

    def _described(self, fields: tuple[str, ...]) -> BandsFile | None:
        """Description of the bands, if they are to be read. Raises DataError if there is none."""
        if "bands" not in (fields or self.usual):
            return None
        return read_bands_file(self.bands_file, how_to_write(self.root, self.bands))

    def _refuse_stale(self, of: BandsFile, images: dict[str, Path]) -> None:
        """Raise DataError if bands.yaml is of other training images; warn of newer ones."""
        again = how_to_write(self.root, self.bands) + of.told
        try:
            same = digest_of(images) == of.files
            newest = max(path.stat().st_mtime for path in images.values())
        except OSError as error:
            raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from None
        if not same:
            raise DataError(
                f"{self.bands_file}: holds mean and deviation of {of.images} other training images "
                f"than these {len(images)}, by their names and sizes; write it again: {again}"
            )
        if newest > of.written:
            self._say(
                "newer",
                "%s: older than some training images; if their pixels have changed, write it "
                "again: %s",
                self.bands_file,
                again,
                level=logging.WARNING,
            )

    @cached_property
    def _class_file(self) -> Path:
        root = Path(self.root).expanduser()
        own = classes_file(root)
        if not own.is_file():
            own = classes_file(find_base(root, (*IMAGE_SUFFIXES, *BAND_SUFFIXES)))
        if not own.is_file():
            any_image = (*IMAGE_SUFFIXES, *BAND_SUFFIXES)
            find_parts(find_base(root, any_image), any_image)  # says if this is another folder
        return own

    @cached_property
    def _classes(self) -> ClassesFile:
        return read_class_file(self._class_file)

    def _samples(
        self, name: str, split: str | None, bands: BandsFile | None, *, undescribed: bool = False
    ) -> Pairs:
        """Images and masks of a split. undescribed: the images hold bands, but bands is None."""
        suffixes = IMAGE_SUFFIXES if bands is None and not undescribed else BAND_SUFFIXES
        base, parts = self._scan(suffixes)
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
        pairs = Pairs(
            *(chosen, paired | own, self._classes, lists),
            upright=self.upright,
            own=True,
            bands=bands,
        )
        if name not in self._logged:
            self._logged.add(name)
            look_at(pairs, name)
        return pairs

    def _scan(self, suffixes: tuple[str, ...]) -> tuple[Path, list[Part]]:
        """Folder of images and masks, and its parts. Scanned once: it may hold 200,000 files."""
        if suffixes not in self._scanned:
            base = find_base(Path(self.root), suffixes)
            self._scanned[suffixes] = base, find_parts(base, suffixes)
        return self._scanned[suffixes]

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
