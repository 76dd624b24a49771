"""CamVid in the layout of the SegNet tutorial: 701 road scenes of 480x360, 11 classes.

Source: Brostow et al. 2009; split, size and classes of Badrinarayanan et al. (SegNet, 2017).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fcnexp import IMAGE_SUFFIXES, VOID
from fcnexp.data.archives import CAMVID
from fcnexp.data.folders import find_layout, list_files, split_file
from fcnexp.data.layouts import by_name
from fcnexp.data.lists import read_lines, refuse_repeated
from fcnexp.data.pairs import Pairs
from fcnexp.data.palette import ClassesFile
from fcnexp.data.splits import refuse_overlap
from fcnexp.errors import DataError

CLASS_NAMES = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian"),
    "bicyclist",
)
CLASSES = ClassesFile(CLASS_NAMES, {}, {i: i for i in range(len(CLASS_NAMES))} | {11: VOID})
HALVES = {"trainval": ("train", "val")}  # splits that have no folder of their own
FOLDERS = ("train", "val", "test")


@dataclass
class CamVid:
    """CamVid: folders `train`, `val`, `test` of images, `trainannot` ... of masks, 11 is void.

    train_split, val_split: train, val, test, or trainval; or a list in the folder, or a path.
    """

    root: str
    train_split: str
    val_split: str
    shared: int = 0  # number of images knowingly in both sets

    class_names = CLASS_NAMES
    provides = ("rgb",)

    def train(self, fields: tuple[str, ...]) -> Pairs:
        """The training set. Raises DataError if it overlaps with the validation set."""
        samples = camvid_segmentation(self.root, self.train_split)
        what = f"{self.train_split} and {self.val_split}"
        refuse_overlap(samples.ids, self.val(fields).ids, what, self.shared)
        return samples

    def val(self, fields: tuple[str, ...]) -> Pairs:
        """The validation set."""
        return camvid_segmentation(self.root, self.val_split)


def camvid_segmentation(root: Path | str, split: str) -> Pairs:
    """One split of a folder in CamVid's layout.

    root: the folder that contains `train` and `trainannot`, or one above it. split: the name of a
    list in it, without `.txt`, or a path; a line is an image's name, or the two paths of the
    upstream lists, of which only the first file name counts. Without a list, `train`, `val` and
    `test` are all images of the folder of that name, `trainval` those of two.
    Raises DataError if a folder or file is missing.
    """
    needed = ("train", "trainannot")
    unpacked = Path(root).expanduser() / CAMVID.base
    root = unpacked if unpacked.is_dir() else find_layout(Path(root), needed, "data.root")
    folders = [name for name in FOLDERS if (root / name).is_dir()]
    images = _joined(root, folders, IMAGE_SUFFIXES)
    masks = _joined(root, [f"{name}annot" for name in folders], (".png",))
    parts = _parts(root, split)
    lists = [path for part in parts for path in (*list_files(root, part), root / part)]
    ids = [name for part in parts for name in _ids(root, part, images)]
    refuse_repeated(ids, root / f"{split}.txt")
    if missing := [name for name in ids if name not in masks]:
        raise DataError(
            f"{images[missing[0]]}: no mask {missing[0]}.png ({len(missing)} of {len(ids)} images "
            "have none); choose a split whose files exist"
        )
    return Pairs({name: images[name] for name in ids}, masks, CLASSES, lists)


def _parts(root: Path, split: str) -> tuple[str, ...]:
    has_list = (root / f"{split}.txt").is_file()
    return (split,) if has_list else HALVES.get(split, (split,))


def _ids(root: Path, split: str, images: Mapping[str, Path]) -> list[str]:
    if not (root / f"{split}.txt").is_file() and (root / split).is_dir():
        return [name for name, path in images.items() if path.parent == root / split]
    path = split_file(root, split)
    ids = [_name(line) for line in read_lines(path)]
    if unknown := [name for name in ids if name not in images]:
        raise DataError(
            f"{path}: {unknown[0]}: no such image ({len(unknown)} of {len(ids)} lines name none); "
            f"list names such as {next(iter(images))}"
        )
    return ids


def _name(line: str) -> str:
    """Image's name: the first file name of a line, without folder and extension."""
    path = PurePosixPath(line.split()[0])
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def _joined(root: Path, folders: list[str], suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Files of several folders by name. Raises DataError if two have the same name."""
    found: dict[str, Path] = {}
    for folder in folders:
        if not (root / folder).is_dir():
            raise DataError(f"{root / folder}: no such folder; CamVid's masks belong there")
        files = by_name(root / folder, suffixes)
        if both := sorted(found.keys() & files.keys()):
            raise DataError(
                f"{files[both[0]]}: {found[both[0]]} has the same name; the training and the "
                "scored images must be different: remove or rename one"
            )
        found |= files
    return found
