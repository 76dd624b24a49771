"""Fake data sets in the original layouts, some pixels large."""

from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from fcnexp.data.palette import save_indexed
from fcnexp.labels import VOID

LABEL = np.array([[0, 1, 20], [VOID, 15, 0]], np.uint8)


def voc_tree(root: Path, train: tuple[str, ...] = ("a",), val: tuple[str, ...] = ("b",)) -> Path:
    """A folder in VOC's layout with a 3x2 image and label for each id."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for name in (*train, *val):
        Image.new("RGB", (3, 2), (200, 0, 0)).save(root / "JPEGImages" / f"{name}.jpg")
        save_indexed(root / "SegmentationClass" / f"{name}.png", LABEL)
    for split, ids in (("train", train), ("val", val)):
        (root / "ImageSets/Segmentation" / f"{split}.txt").write_text("\n".join(ids))
    return root


def sbd_tree(root: Path, ids: tuple[str, ...] = ("c", "d")) -> Path:
    for folder in ("img", "cls"):
        (root / folder).mkdir(parents=True)
    for name in ids:
        Image.new("RGB", (3, 2)).save(root / "img" / f"{name}.jpg")
        segmentation = np.minimum(LABEL, 20)
        scipy.io.savemat(root / "cls" / f"{name}.mat", {"GTcls": {"Segmentation": segmentation}})
    (root / "train.txt").write_text("\n".join(ids) + "\n")
    return root
