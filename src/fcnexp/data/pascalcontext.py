"""PASCAL-Context: VOC 2010's images with labels of whole scenes, reduced to 59 or 33 classes.

Source: Mottaghi et al. 2014; reduced as by the release's `pascalcontext_layers.py`.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fcnexp.data.archives import VOC2010
from fcnexp.data.files import read_mat_map, read_rgb
from fcnexp.data.folders import Files, PairedFolders, find_layout
from fcnexp.data.lists import read_ids
from fcnexp.data.splits import refuse_overlap
from fcnexp.errors import DataError

STORED = 459  # classes of LabelMap, which count from 1; 0 is unlabelled
# Value in LabelMap of each of the 59 classes, in the order of the release's outputs. Source: the
# release's classes-59.txt and classes-400.txt. Three have other names in the dataset's list of 459:
# diningtable is its table, clothes its cloth, bedcloth its bedclothes.
VALUES = {
    **{"aeroplane": 2, "bicycle": 23, "bird": 25, "boat": 31, "bottle": 34, "bus": 45, "car": 59},
    **{"cat": 65, "chair": 72, "cow": 98, "diningtable": 397, "dog": 113, "horse": 207},
    **{"motorbike": 258, "person": 284, "pottedplant": 308, "sheep": 347, "sofa": 368},
    **{"train": 416, "tvmonitor": 427, "bag": 9, "bed": 18, "bench": 22, "book": 33},
    **{"building": 44, "cabinet": 46, "ceiling": 68, "clothes": 80, "computer": 85, "cup": 104},
    **{"door": 115, "fence": 144, "floor": 158, "flower": 159, "food": 162, "grass": 187},
    **{"ground": 189, "keyboard": 220, "light": 232, "mountain": 259, "mouse": 260},
    **{"curtain": 105, "platform": 296, "sign": 355, "plate": 295, "road": 324, "rock": 326},
    **{"shelves": 349, "sidewalk": 354, "sky": 360, "snow": 366, "bedcloth": 19, "track": 415},
    **{"tree": 420, "truck": 424, "wall": 440, "water": 445, "window": 454, "wood": 458},
}
# The easier task: VOC's classes and 13 more. Source: the dataset's 33_labels.txt, as a public
# loader of its 33_context_labels lists it.
EASIER = (
    *list(VALUES)[:20],
    *("sky", "grass", "ground", "road", "building", "tree", "water", "mountain", "wall", "floor"),
    *("track", "keyboard", "ceiling"),
)
TASKS = {59: tuple(VALUES), 33: EASIER}


@dataclass
class PascalContext:
    """PASCAL-Context; everything that is none of the classes is background, also if unlabelled.

    root: VOC 2010. context_root: the folder that contains `trainval`. train_split, val_split: train
    or val of VOC 2010; or a list in context_root, or a path. classes: 59 or 33, without background.
    Raises ValueError for another number.
    """

    root: str
    context_root: str
    train_split: str
    val_split: str
    classes: int
    shared: int = 0  # number of images knowingly in both sets

    provides = ("rgb",)

    def __post_init__(self) -> None:
        """Check the number of classes."""
        if self.classes not in TASKS:
            raise ValueError(
                f"classes={self.classes}: allowed are 59 and 33, the dataset's two tasks; "
                "background is added to them"
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Background, then the classes, in the order of the scores."""
        return ("background", *TASKS[self.classes])

    def train(self, fields: tuple[str, ...]) -> PairedFolders:
        """The training set. Raises DataError if it overlaps with the validation set."""
        samples = self._samples(self.train_split, images=True)
        what = f"{self.train_split} and {self.val_split}"
        refuse_overlap(samples.ids, self.val(fields).ids, what, self.shared)
        return samples

    def val(self, fields: tuple[str, ...]) -> PairedFolders:
        """The validation set."""
        return self._samples(self.val_split, images=bool(fields))

    def _samples(self, split: str, *, images: bool) -> PairedFolders:
        return context_segmentation(
            self.root, self.context_root, split, TASKS[self.classes], images=images
        )


def context_segmentation(
    root: Path | str,
    context_root: Path | str,
    split: str,
    classes: tuple[str, ...],
    *,
    images: bool = True,
) -> PairedFolders:
    """One split of PASCAL-Context; labels are 0 for background, then the classes from 1.

    images: False to read labels alone. Raises DataError if a folder or file is missing.
    """
    labels = find_layout(Path(context_root), ("trainval",), "data.context_root")
    places = [Path(root).expanduser() / place for place in (VOC2010.base, "VOC2010")]
    voc = next(filter(Path.is_dir, places), None)  # VOC 2012 beside it has other lists
    if voc is None:
        voc = find_layout(Path(root), ("JPEGImages",)[not images :], "data.root")
    main = voc / "ImageSets/Main"
    lists = [labels / f"{split}.txt", main / f"{split}.txt", Path(split).expanduser()]
    listed = next(filter(Path.is_file, lists), None)
    if listed is None:
        raise DataError(
            f"{split}: no such list in {main} or {labels}; set data.*_split to train or val, the "
            "lists of VOC 2010, or to the path of a list"
        )
    fields = {"rgb": Files(voc / "JPEGImages", "{}.jpg", read_rgb)} if images else {}
    values = tuple(VALUES[name] for name in classes)
    stored = Files(labels / "trainval", "{}.mat", partial(read_context_label, values=values))
    return PairedFolders(read_ids(listed), fields, stored, 1 + len(classes), lists)


def read_context_label(path: Path, values: tuple[int, ...]) -> np.ndarray:
    """Label map, uint8 (H, W): 1 for the first of the stored values, and so on; 0 for all others.

    Raises DataError if the file is missing, damaged, has no `LabelMap`, or has values above 459.
    """
    stored = read_mat_map(path, "a PASCAL-Context label", "LabelMap")
    wrong = ~np.isin(stored, np.arange(STORED + 1))
    if wrong.any():
        found = ", ".join(str(value) for value in np.unique(stored[wrong])[:5])
        raise DataError(
            f"{path}: label value {found} in {int(wrong.sum())} pixels; allowed are 0 to {STORED}; "
            "take the dataset's trainval folder, not labels that are reduced already"
        )
    table = np.zeros(STORED + 1, np.uint8)
    table[list(values)] = np.arange(1, len(values) + 1)
    return table[stored.astype(np.intp)]
