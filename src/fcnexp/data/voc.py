"""PASCAL VOC's segmentation layout, and any data set stored in it."""

from pathlib import Path

from fcnexp.data.files import read_ids, read_label_mat, read_label_png, read_rgb
from fcnexp.data.folders import Files, PairedFolders
from fcnexp.data.layout import find_layout, split_file
from fcnexp.data.seg11valid import seg11valid

CLASS_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)


def voc_segmentation(
    root: Path | str, split: str, num_classes: int, *, images: bool = True
) -> PairedFolders:
    """One split of a folder in VOC's layout: JPEGImages, SegmentationClass, ImageSets.

    root: the folder that holds these three, or one with `VOCdevkit/VOC2012` in it.
    split: a file's name in ImageSets/Segmentation, without `.txt`, or the path of your own list;
    `seg11valid`, which VOC does not come with, is the paper's where the folder has no such list.
    images: whether the photographs are wanted; else labels are enough. Raises DataError on what is
    missing.
    """
    needed = ("JPEGImages", "SegmentationClass")[not images :]
    root = find_layout(Path(root), needed, "data.root")
    ids = listed_ids(root, split)
    photographs = Files(root / "JPEGImages", "{}.jpg", read_rgb)
    labels = Files(root / "SegmentationClass", "{}.png", read_label_png)
    return PairedFolders(ids, {"rgb": photographs} if images else {}, labels, num_classes)


def listed_ids(root: Path, split: str) -> list[str]:
    """Ids of a split of the folder that holds ImageSets. Raises DataError."""
    lists = root / "ImageSets" / "Segmentation"
    if split == "seg11valid" and not (lists / "seg11valid.txt").is_file():
        return seg11valid()
    return read_ids(split_file(lists, split))


def sbd_segmentation(root: Path | str, split: str, num_classes: int) -> PairedFolders:
    """One split of the Semantic Boundaries Dataset: `img/*.jpg`, `cls/*.mat`, `SPLIT.txt`.

    root: `benchmark_RELEASE/dataset`, or a folder above it. Labels have no void.
    Raises DataError on what is missing.
    """
    root = find_layout(Path(root), ("img", "cls"), "data.sbd_root")
    ids = read_ids(split_file(root, split))
    images = Files(root / "img", "{}.jpg", read_rgb)
    labels = Files(root / "cls", "{}.mat", read_label_mat)
    return PairedFolders(ids, {"rgb": images}, labels, num_classes)
