"""PASCAL VOC's segmentation layout, and any data set stored in it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fcnexp.data.files import check_label, read_ids, read_label_mat, read_label_png, read_rgb
from fcnexp.data.sample import Sample
from fcnexp.errors import DataError

CLASS_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)


class PairedFolders(Sequence[Sample]):
    """Photographs of one folder with the labels of another, by id.

    Checks at the start that every listed id has both files; reads them when asked for.
    Raises DataError naming the first file that is missing.
    """

    def __init__(
        self,
        ids: Sequence[str],
        images: Path,
        labels: Path,
        label_suffix: str,
        read_label: Callable[[Path], np.ndarray],
        num_classes: int,
    ) -> None:
        self.ids, self.images, self.labels = list(ids), images, labels
        self.label_suffix, self.read_label = label_suffix, read_label
        self.num_classes = num_classes
        for folder, suffix, what in ((images, ".jpg", "image"), (labels, label_suffix, "label")):
            present = {path.name for path in folder.iterdir()}
            missing = [name for name in self.ids if name + suffix not in present]
            if missing:
                raise DataError(
                    f"{folder / (missing[0] + suffix)}: no such {what} ({len(missing)} of "
                    f"{len(self.ids)} listed ids have none); choose a split whose files are there"
                )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices
        """Read one image and its label. Raises DataError naming the file that is wrong."""
        name = self.ids[index]
        path = self.labels / (name + self.label_suffix)
        image = read_rgb(self.images / f"{name}.jpg")
        label = check_label(self.read_label(path), path, image, self.num_classes)
        return Sample(name, {"rgb": image}, label)


def voc_segmentation(root: Path | str, split: str, num_classes: int) -> PairedFolders:
    """One split of a folder in VOC's layout: JPEGImages, SegmentationClass, ImageSets.

    root: the folder that holds these three, or one with `VOCdevkit/VOC2012` in it.
    split: a file's name in ImageSets/Segmentation, without `.txt`, or the path of your own list.
    Raises DataError on what is missing.
    """
    root = find_layout(Path(root), ("JPEGImages", "SegmentationClass"), "data.root")
    listed = split_file(root / "ImageSets" / "Segmentation", split)
    return PairedFolders(
        read_ids(listed),
        root / "JPEGImages",
        root / "SegmentationClass",
        ".png",
        read_label_png,
        num_classes,
    )


def sbd_segmentation(root: Path | str, split: str, num_classes: int) -> PairedFolders:
    """One split of the Semantic Boundaries Dataset: `img/*.jpg`, `cls/*.mat`, `SPLIT.txt`.

    root: `benchmark_RELEASE/dataset`, or a folder above it. Labels have no void.
    Raises DataError on what is missing.
    """
    root = find_layout(Path(root), ("img", "cls"), "data.sbd_root")
    ids = read_ids(split_file(root, split))
    return PairedFolders(ids, root / "img", root / "cls", ".mat", read_label_mat, num_classes)


def find_layout(root: Path, folders: tuple[str, ...], key: str) -> Path:
    """The folder, at or shortly below root, that holds all these. Raises DataError if none does."""
    root = root.expanduser()
    if not root.is_dir():
        raise DataError(
            f"{key}={root}: no such folder; give the folder that holds {' and '.join(folders)}, or "
            "try data=shapes, which needs no download"
        )
    known = ("", "VOCdevkit/VOC2012", "VOC2012", "TrainVal/VOCdevkit/VOC2011", "VOCdevkit/VOC2011")
    for place in (*known, "benchmark_RELEASE/dataset", "dataset"):
        if all((root / place / folder).is_dir() for folder in folders):
            return root / place
    raise DataError(
        f"{key}={root}: holds no {' and '.join(folders)}; give the folder that holds them"
    )


def split_file(folder: Path, split: str) -> Path:
    """The list of a split, by name in the folder or by path. Raises DataError naming all others."""
    named = folder / f"{split}.txt"
    if named.is_file():
        return named
    own = Path(split).expanduser()
    if own.is_file():
        return own
    there = ", ".join(sorted(path.stem for path in folder.glob("*.txt"))) or "none"
    raise DataError(
        f"{split}: no such list in {folder}; data.*_split may be {there}, or a file of your own"
    )
