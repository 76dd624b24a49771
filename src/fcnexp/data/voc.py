"""Readers of PASCAL VOC's segmentation layout and of SBD."""

from pathlib import Path

import yaml

from fcnexp.data.files import read_label_mat, read_label_png, read_rgb
from fcnexp.data.folders import Files, PairedFolders, find_layout, list_files, split_file
from fcnexp.data.lists import read_ids

LISTS = "ImageSets/Segmentation"
CLASS_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)


def voc_segmentation(
    root: Path | str, split: str, num_classes: int, *, images: bool = True
) -> PairedFolders:
    """One split of a folder in VOC's layout: JPEGImages, SegmentationClass, ImageSets.

    root: the folder that contains these three, or one above it, `VOCdevkit/VOC2012`.
    split: name of a list in ImageSets/Segmentation, without `.txt`, or a path; `seg11valid`, which
    VOC lacks, is the paper's unless the folder has such a list.
    images: False to read labels alone. Raises DataError if a folder or file is missing.
    """
    needed = ("JPEGImages", "SegmentationClass")[not images :]
    root = find_layout(Path(root), needed, "data.root")
    ids = listed_ids(root, split)
    fields = {"rgb": Files(root / "JPEGImages", "{}.jpg", read_rgb)} if images else {}
    labels = Files(root / "SegmentationClass", "{}.png", read_label_png)
    lists = list_files(root / LISTS, split)
    return PairedFolders(ids, fields, labels, num_classes, lists)


def listed_ids(root: Path, split: str) -> list[str]:
    """Ids of a split in the folder that contains ImageSets. Raises DataError."""
    lists = root / LISTS
    if split == "seg11valid" and not (lists / "seg11valid.txt").is_file():
        return seg11valid()
    return read_ids(split_file(lists, split))


def sbd_segmentation(root: Path | str, split: str, num_classes: int) -> PairedFolders:
    """One split of the Semantic Boundaries Dataset: `img/*.jpg`, `cls/*.mat`, `SPLIT.txt`.

    root: `benchmark_RELEASE/dataset`, or a folder above it. Labels have no void.
    Raises DataError if a folder or file is missing.
    """
    root = find_layout(Path(root), ("img", "cls"), "data.sbd_root")
    ids = read_ids(split_file(root, split))
    images = Files(root / "img", "{}.jpg", read_rgb)
    labels = Files(root / "cls", "{}.mat", read_label_mat)
    return PairedFolders(ids, {"rgb": images}, labels, num_classes, list_files(root, split))


def seg11valid() -> list[str]:
    """The 736 ids of the paper's validation set, sorted: `2007_000033` to `2011_003271`."""
    by_year = yaml.safe_load(Path(__file__).with_name("seg11valid.yaml").read_text())
    return [f"{year}_{int(n):06d}" for year, line in by_year.items() for n in line.split()]
