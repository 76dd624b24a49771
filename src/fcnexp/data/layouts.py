"""Where custom data keeps its images and masks: the folders that people and tools make.

| folders                                        | who                                     |
|------------------------------------------------|-----------------------------------------|
| images, masks                                  | this project, and most people           |
| images/train, images/val, masks/train ...      | people who split by folder              |
| img_dir/train, ann_dir/train ...               | MMSegmentation                          |
| train/images, train/masks, val/images ...      | the same, the other way round           |
| train, train_masks                             | Kaggle (Carvana)                        |
| one folder, NAME.jpg beside NAME_mask.png      | Kaggle                                  |
| JPEGImages, SegmentationClass                  | CVAT, labelme2voc                       |

Images and masks in folders of their own may lie in further folders below these, as Cityscapes'
cities do.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from fcnexp import IMAGE_SUFFIXES
from fcnexp.data.masks import MASK_SUFFIXES, PANOPTIC
from fcnexp.errors import DataError

_IMAGES = (
    *("images", "image", "imgs", "img", "jpegimages", "photos", "img_dir", "image_dir"),
    *("leftimg8bit", "inputs", "input"),
)
_MASKS = (  # labelme2voc's first version had SegmentationClass for other files
    *("masks", "mask", "labels", "label", "annotations", "segmentationclasspng"),
    *("segmentationclass", "ground_truth", "groundtruth", "gt", "ann_dir", "mask_dir", "label_dir"),
    *("gtfine", "targets", "target", "segmentations", "segmentation"),
)
_BESIDE = ("_masks", "_mask", "_labels", "_annotations", "annot")
HALVES = {  # names of folders and lists of the splits
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
}
_SAID = (  # what the names of masks end or begin with, if they lie beside their images
    *("mask", "masks", "gt", "label", "labels", "seg", "segmentation", "annotation"),
    *("groundtruth", "matte"),
)
_DEEPEST = 4
_SKIPPED = ("__macosx",)
_NOT_READ = {  # files in the place of masks or images, by suffix, and what to do
    (".jpg", ".jpeg", ".webp"): "is no format for masks: JPEG changes the values of masks, and so "
    "may WebP: save them as PNG",
    (".json", ".xml", ".txt"): "holds polygons or boxes: export masks as PNG from the tool that "
    "wrote it, or draw them, as labelme2voc does",
    (".heic", ".heif"): "Pillow does not read: save them as JPEG",
    (".npz", ".mat"): "is not read: save each mask as a PNG of class numbers",
    (".npy",): "is not read: save each mask as a PNG of class numbers; only images of bands may be "
    ".npy, for modality=bands, once prepare bands has described them",
}


class Part(NamedTuple):
    """Images of one folder, by name, and the masks they may have; split: its name, or None."""

    split: str | None
    images: dict[str, Path]
    masks: list[Path]
    masks_in: Path


def composed(name: str) -> str:
    """The name with accents as part of their letters: macOS stores them as signs of their own."""
    return unicodedata.normalize("NFC", name)


def by_name(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """Sorted files with one of these suffixes, in any case, by name without suffix.

    Hidden files, such as the `._NAME` of macOS, and folders do not count. Raises DataError if there
    are none, or two with the same name.
    """
    return _by_name(_some(folder, suffixes))


def find_base(root: Path, suffixes: Collection[str] = IMAGE_SUFFIXES) -> Path:
    """Return the folder at root, or the only folder in it, as archives are unpacked to.

    suffixes: of images.
    """
    root = root.expanduser()
    for _ in range(2):
        inside = _folders(root) if root.is_dir() else {}
        if len(inside) != 1 or _files(root, suffixes):
            break
        (only,) = inside.values()
        if only.name.lower() in (*_IMAGES, *_MASKS, *HALVES["train"]):
            break
        root = only
    return root


def find_parts(base: Path, suffixes: Collection[str] = IMAGE_SUFFIXES) -> list[Part]:
    """Return images and masks: one part, or one for each split that has a folder of its own.

    suffixes: of images. Raises DataError saying which folders are expected.
    """
    if not base.is_dir():
        packed = "a file; unpack it" if base.is_file() else "no such folder"
        raise DataError(
            f"data.root={base}: {packed}; set it to the folder that contains images and "
            "masks, or try scale=small or data=shapes, which need no download"
        )
    if (two := _image_and_mask_folders(base)) is not None:
        images, masks = two
        splits = {} if _files(images, suffixes) else _halves(images)
        if "train" not in splits:
            return [_part(None, images, masks, suffixes)]
        return [_part(half, place, masks / place.name, suffixes) for half, place in splits.items()]
    parts = []
    for half, place in _halves(base).items():
        two = _image_and_mask_folders(place) or _beside(place)
        parts.append(_part(half, *two, suffixes) if two else _flat(half, place, suffixes))
    if parts and parts[0].split == "train":
        return parts if len(parts) > 1 else [parts[0]._replace(split=None)]
    if _files(base, suffixes):
        return [_flat(None, base, suffixes)]
    inside = ", ".join(sorted(place.name for place in _folders(base).values())) or "no folder"
    raise DataError(
        f"data.root={base}: contains no images and masks ({inside} is there); set it to the folder "
        "that contains images and masks, or images/train, images/val and the same in masks"
        f"{PANOPTIC if 'panoptic' in inside else ''}"
    )


def _part(split: str | None, images: Path, masks: Path, suffixes: Collection[str]) -> Part:
    if not masks.is_dir():
        raise DataError(f"{masks}: no such folder; put the masks of {images} there")
    found = by_name(images, suffixes)
    return Part(split, found, _some(masks, MASK_SUFFIXES), masks)


def _below(folder: Path, suffixes: Collection[str], depth: int = _DEEPEST) -> list[Path]:
    """Visible files in the visible folders below one, sorted; depth: levels, as links may loop."""
    if not depth:
        return []
    places = _folders(folder).values()
    return sorted(
        p for at in places for p in [*_files(at, suffixes), *_below(at, suffixes, depth - 1)]
    )


def _flat(split: str | None, folder: Path, suffixes: Collection[str]) -> Part:
    """Images and masks of one folder, told apart by their names, or as JPEGs and PNGs."""
    files = _files(folder, suffixes)
    said = [path for path in files if _says_mask(path.stem)]
    if not said:
        said = [path for path in files if path.suffix.lower() == ".png"]
    others = [path for path in files if path not in set(said)]
    masks = [path for path in said if path.suffix.lower() in MASK_SUFFIXES]
    if not others or not masks:
        raise DataError(
            f"{folder}: {len(files)} images, and no name says which are masks; put images in "
            "images and masks in masks, or name the mask of NAME.jpg NAME_mask.png"
        )
    return Part(split, _by_name(others), masks, folder)


def _says_mask(name: str) -> bool:
    words = composed(name).lower().replace("-", "_").replace(".", "_").split("_")
    return words[-1] in _SAID or words[0] in _SAID


def _image_and_mask_folders(place: Path) -> tuple[Path, Path] | None:
    inside = _folders(place)
    images = next((inside[name] for name in _IMAGES if name in inside), None)
    masks = next((inside[name] for name in _MASKS if name in inside), None)
    if images is None or masks is None:
        return None
    return images, masks


def _beside(images: Path) -> tuple[Path, Path] | None:
    inside = _folders(images.parent)
    found = [inside[name] for end in _BESIDE if (name := f"{images.name}{end}".lower()) in inside]
    return (images, found[0]) if found else None


def _halves(place: Path) -> dict[str, Path]:
    """Folders of splits in a folder, by split."""
    inside = _folders(place)
    return {
        half: inside[name] for half, names in HALVES.items() for name in names if name in inside
    }


def _folders(place: Path) -> dict[str, Path]:
    """Visible folders by name in lower case."""
    with os.scandir(place) as entries:
        return {
            entry.name.lower(): place / entry.name
            for entry in entries
            if not entry.name.startswith(".")
            and entry.name.lower() not in _SKIPPED
            and entry.is_dir()
        }


def _files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Visible files with one of these suffixes, in any case, sorted."""
    with os.scandir(folder) as entries:
        names = sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(".")
            and os.path.splitext(entry.name)[1].lower() in suffixes
            and entry.is_file()
        )
    return [folder / name for name in names]


def _some(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Files as `_files` finds them, or else `_below`. Raises DataError if there are none."""
    found = _files(folder, suffixes) or _below(folder, suffixes)
    if not found:
        raise DataError(
            f"{folder}: contains no {', '.join(suffixes)}; put the {folder.name} "
            f"there{others_in(folder, suffixes)}"
        )
    return found


def others_in(folder: Path, suffixes: Collection[str]) -> str:
    """What a folder has in place of files with these suffixes, and what to do, for a message."""
    inside = Counter(path.suffix.lower() for path in folder.rglob("*.*") if path.is_file())
    for suffix, count in inside.most_common():
        why = next((text for ends, text in _NOT_READ.items() if suffix in ends), None)
        if suffix not in suffixes and why is not None:
            return f"; it has {count} {suffix}, which {why}"
    return ""


def _by_name(files: list[Path]) -> dict[str, Path]:
    """Files by name without suffix. Raises DataError if two have the same."""
    found: dict[str, Path] = {}
    for path in files:
        name = composed(path.stem)
        if name in found:
            raise DataError(
                f"{path}: {found[name].name} has the same name except for the extension; "
                "rename one of them and its mask"
            )
        found[name] = path
    return found
