"""NYUDv2 in the papers' layout: colour, depth, HHA and labels of 40 classes.

Source: data layer and data/nyud of the reference nets. Images are 425x560, without the white frame.
"""

from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from fcnexp.data.files import read_depth, read_hha, read_mat_map, read_rgb
from fcnexp.data.folders import Files, PairedFolders, find_layout, list_files, split_file
from fcnexp.data.lists import read_ids
from fcnexp.errors import DataError

CLASS_NAMES = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf"),
    *("picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror"),
    *("floor mat", "clothes", "ceiling", "books", "refridgerator", "television", "paper", "towel"),
    *("shower curtain", "box", "whiteboard", "person", "night stand", "toilet", "sink", "lamp"),
    *("bathtub", "bag", "otherstructure", "otherfurniture", "otherprop"),
)  # spelt as in the data set
_FIELDS = {"rgb": ("images", read_rgb), "depth": ("depth", read_depth), "hha": ("hha", read_hha)}


def nyud_segmentation(
    root: Path | str, split: str, fields: tuple[str, ...], num_classes: int = len(CLASS_NAMES)
) -> PairedFolders:
    """One split of NYUDv2, or of data in its layout, with exactly these fields.

    root: the folder that contains `data`, `segmentation` and the lists. split: name of a list there
    without `.txt`, or a path; `trainval` without a list is `train` followed by `val`.
    fields: any of `rgb`, `depth` and `hha`. Raises DataError if a folder or file is missing.
    """
    folders = {field: f"data/{_FIELDS[field][0]}" for field in fields}
    root = find_layout(Path(root), (*folders.values(), "segmentation"), "data.root")
    images: dict[str, Files[Tensor]] = {
        field: Files(root / folder, f"img_{{}}{_suffix(root / folder)}", _FIELDS[field][1])
        for field, folder in folders.items()
    }
    read_label = partial(read_nyud_label, num_classes=num_classes)
    labels = Files(root / "segmentation", "img_{}.mat", read_label)
    parts = ("train", "val") if split == "trainval" else ()  # see `listed_ids`
    lists = [path for name in (split, *parts) for path in list_files(root, name)]
    return PairedFolders(listed_ids(root, split), images, labels, num_classes, lists)


def _suffix(folder: Path) -> str:
    """Extension of a field's files: .png as in the release, or .jpg if colour has no PNG."""
    jpeg_alone = folder.name == "images" and not any(folder.glob("*.png"))
    return ".jpg" if jpeg_alone and any(folder.glob("*.jpg")) else ".png"


def listed_ids(root: Path, split: str) -> list[str]:
    """Ids of a split; those of `train` and `val` for `trainval` if it has no list."""
    if split != "trainval" or (root / "trainval.txt").is_file():
        return read_ids(split_file(root, split))
    train, val = (read_ids(split_file(root, part)) for part in ("train", "val"))
    shared = sorted(set(train) & set(val))
    if shared:
        raise DataError(
            f"{root / 'val.txt'}: {shared[0]} is in train.txt too; trainval without a list joins "
            "both, which must be disjoint: remove it from one, or add trainval.txt"
        )
    return train + val


def read_nyud_label(path: Path, num_classes: int = len(CLASS_NAMES)) -> np.ndarray:
    """Label map, uint8 (H, W), classes from 0 and VOID; stored classes count from 1, void is 0.

    Raises DataError if the file is missing, damaged, has no `segmentation`, or has other values.
    """
    stored = read_mat_map(path, "an NYUD label", "segmentation")
    wrong = ~np.isin(stored, np.arange(num_classes + 1))
    if wrong.any():
        values = ", ".join(str(value) for value in np.unique(stored[wrong])[:5])
        raise DataError(
            f"{path}: label value {values} in {int(wrong.sum())} pixels; allowed are 1 to "
            f"{num_classes} for the classes and 0 for void; map the 894 names to 40 classes first"
        )
    return stored.astype(np.uint8) - np.uint8(1)  # 0 wraps to VOID, as in the reference nets
