"""SIFT Flow: outdoor scenes with two labels per pixel, semantic and geometric.

Source: Liu, Yuen, Torralba 2011; Tighe, Lazebnik 2010 for the geometric labels; read as by the
release's `siftflow_layers.py`, with the classes and their order in its `classes.txt`.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import yaml

from fcnexp.data.files import read_mat_map, read_rgb
from fcnexp.data.folders import Files, PairedFolders, find_layout, list_files, split_file
from fcnexp.data.lists import read_ids
from fcnexp.data.splits import refuse_overlap
from fcnexp.errors import DataError

SEMANTIC = (
    *("awning", "balcony", "bird", "boat", "bridge", "building", "bus", "car", "cow", "crosswalk"),
    *("desert", "door", "fence", "field", "grass", "moon", "mountain", "person", "plant", "pole"),
    *("river", "road", "rock", "sand", "sea", "sidewalk", "sign", "sky", "staircase"),
    *("streetlight", "sun", "tree", "window"),
)
GEOMETRIC = ("sky", "horizontal", "vertical")
SCENES = "spatial_envelope_256x256_static_8outdoorcategories"  # the folder in each of FOLDERS
FOLDERS = ("Images", "SemanticLabels", "GeoLabels")
UNLABELLED = ("highway_bost181", "street_urb506")  # without any annotation; in none of the lists


@dataclass
class SiftFlow:
    """SIFT Flow, two tasks: `sem`, 33 classes, and `geo`, 3.

    train_split, val_split: name of a list in the folder, or a path.
    """

    root: str
    train_split: str
    val_split: str
    shared: int = 0  # number of images knowingly in both sets

    class_names = (*SEMANTIC, *GEOMETRIC)
    provides = ("rgb",)

    @property
    def outputs(self) -> dict[str, int]:
        """Number of classes by task, in the order of the release's scores."""
        return {"sem": len(SEMANTIC), "geo": len(GEOMETRIC)}

    def train(self, fields: tuple[str, ...]) -> PairedFolders:
        """The training set. Raises DataError if it overlaps with the validation set."""
        samples = siftflow_segmentation(self.root, self.train_split)
        what = f"{self.train_split} and {self.val_split}"
        refuse_overlap(samples.ids, self.val(fields).ids, what, self.shared)
        return samples

    def val(self, fields: tuple[str, ...]) -> PairedFolders:
        """The validation set."""
        return siftflow_segmentation(self.root, self.val_split, images=bool(fields))


def siftflow_segmentation(root: Path | str, split: str, *, images: bool = True) -> PairedFolders:
    """One split of SIFT Flow; labels from 0, unlabelled pixels are void.

    root: the folder that contains Images, SemanticLabels, GeoLabels and the lists. split: name of a
    list there without `.txt`, or a path. images: False to read labels alone.
    Raises DataError if a folder or file is missing.
    """
    needed = tuple(f"{name}/{SCENES}" for name in FOLDERS[not images :])
    root = find_layout(Path(root), needed, "data.root")
    pictures, *labels = (root / name / SCENES for name in FOLDERS)
    fields = {"rgb": Files(pictures, "{}.jpg", read_rgb)} if images else {}
    sem, geo = (
        (Files(folder, "{}.mat", partial(read_siftflow_label, num_classes=count)), count)
        for folder, count in zip(labels, (len(SEMANTIC), len(GEOMETRIC)), strict=True)
    )
    lists = list_files(root, split)
    return PairedFolders(listed_ids(root, split), fields, *sem, lists, further={"geo": geo})


def listed_ids(root: Path, split: str) -> list[str]:
    """Ids of a split of a folder, which may lack the release's two lists. Raises DataError.

    `test` is the release's list. `trainval` is then all other annotated images, sorted: those of
    the release's list, which is in random order.
    """
    known = any(path.is_file() for path in list_files(root, split))
    if known or split not in ("trainval", "test"):
        return read_ids(split_file(root, split))
    if split == "test":
        return yaml.safe_load(Path(__file__).with_name("siftflow_test.yaml").read_text())
    left_out = {*listed_ids(root, "test"), *UNLABELLED}
    labelled = {path.stem for path in (root / FOLDERS[1] / SCENES).glob("*.mat")}
    if not labelled - left_out:
        raise DataError(
            f"{root}: no image is left for training besides those of test; add trainval.txt, or "
            "set data.train_split to the path of a list"
        )
    return sorted(labelled - left_out)


def read_siftflow_label(path: Path, num_classes: int) -> np.ndarray:
    """Label map, uint8 (H, W), classes from 0 and VOID; stored classes count from 1.

    Stored values 0 and -1 are unlabelled. Raises DataError if the file is missing, damaged, has no
    `S`, or has other values.
    """
    stored = read_mat_map(path, "a SIFT Flow label", "S")
    wrong = ~np.isin(stored, np.arange(-1, num_classes + 1))
    if wrong.any():
        found = ", ".join(str(value) for value in np.unique(stored[wrong])[:5])
        raise DataError(
            f"{path}: label value {found} in {int(wrong.sum())} pixels; allowed are 1 to "
            f"{num_classes} for the classes, and 0 and -1 where nothing is labelled"
        )
    return np.maximum(stored, 0).astype(np.uint8) - np.uint8(1)  # 0 wraps to VOID, as released
