"""Data sets by name, each with a training set, a validation set and class names."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from fcnexp import VOID
from fcnexp.data import nyud
from fcnexp.data import voc as pascal
from fcnexp.data.folders import Chosen, PairedFolders, concatenate
from fcnexp.data.generated import shapes as generated
from fcnexp.data.generated.furniture import CLASS_NAMES as ROOM_CLASS_NAMES
from fcnexp.data.generated.furniture import SURFACE_OF, SURFACES
from fcnexp.data.generated.rooms import write_rooms
from fcnexp.data.sample import Samples
from fcnexp.errors import DataError


class DataSet(Protocol):
    """A data set's training and validation sets; files are accessed only when one is opened.

    provides: names of the fields that a modality may request. Only the files of the requested
    `fields` are read; a data set that provides `rgb` alone always reads that. `val(())` may read
    labels alone. A data set with several labels per image also has `outputs`, the number of classes
    of each task by name; `class_names` then holds those of all tasks, one after the other.
    """

    class_names: ClassVar[tuple[str, ...]]
    provides: ClassVar[tuple[str, ...]]

    def train(self, fields: tuple[str, ...]) -> Samples:
        """The training set. Raises DataError, also if it overlaps with `val`."""
        ...

    def val(self, fields: tuple[str, ...]) -> Samples:
        """The validation set. Raises DataError."""
        ...


@dataclass
class Voc:
    """PASCAL VOC, or custom data with its classes in its layout.

    train_split, val_split: name of a list in ImageSets/Segmentation, or a path.
    """

    root: str
    train_split: str
    val_split: str
    shared: int = 0  # number of images knowingly in both sets

    class_names = pascal.CLASS_NAMES
    provides = ("rgb",)

    def train(self, fields: tuple[str, ...]) -> PairedFolders:
        """The training set. Raises DataError if it overlaps with the validation set."""
        samples = pascal.voc_segmentation(self.root, self.train_split, len(self.class_names))
        what = f"{self.train_split} and {self.val_split}"
        refuse_overlap(samples.ids, self.val(fields).ids, what, self.shared)
        return samples

    def val(self, fields: tuple[str, ...]) -> PairedFolders:
        """The validation set."""
        num_classes = len(self.class_names)
        return pascal.voc_segmentation(self.root, self.val_split, num_classes, images=bool(fields))


@dataclass
class VocSbd:
    """SBD for training, plus VOC if `train_split` names a list; VOC for validation.

    sbd_split: name of a list in SBD's folder, or a path.
    """

    root: str
    train_split: str | None
    val_split: str
    sbd_root: str
    sbd_split: str
    shared: int = 0  # number of images knowingly in both sets

    class_names = pascal.CLASS_NAMES
    provides = ("rgb",)

    def train(self, fields: tuple[str, ...]) -> Chosen:
        """The training set. Raises DataError if it overlaps with the validation set."""
        num_classes = len(self.class_names)
        parts = [pascal.sbd_segmentation(self.sbd_root, self.sbd_split, num_classes)]
        if self.train_split is not None:
            parts.insert(0, pascal.voc_segmentation(self.root, self.train_split, num_classes))
        samples = concatenate(parts)
        what = f"the training lists and {self.val_split}"
        refuse_overlap(samples.ids, self.val(fields).ids, what, self.shared)
        return samples

    def val(self, fields: tuple[str, ...]) -> PairedFolders:
        """The validation set."""
        num_classes = len(self.class_names)
        return pascal.voc_segmentation(self.root, self.val_split, num_classes, images=bool(fields))


@dataclass
class Nyud:
    """NYUDv2 in the papers' layout, 40 classes; colour is 8-bit RGB, depth in mm, HHA as stored.

    train_split, val_split: name of a list in the folder, or a path.
    """

    root: str
    train_split: str
    val_split: str
    shared: int = 0  # number of images knowingly in both sets

    class_names = nyud.CLASS_NAMES
    provides = ("rgb", "depth", "hha")

    def train(self, fields: tuple[str, ...]) -> PairedFolders:
        """The training set. Raises DataError if it overlaps with the validation set."""
        samples = nyud.nyud_segmentation(self.root, self.train_split, fields)
        what = f"{self.train_split} and {self.val_split}"
        refuse_overlap(samples.ids, self.val(fields).ids, what, self.shared)
        return samples

    def val(self, fields: tuple[str, ...]) -> PairedFolders:
        """The validation set."""
        return nyud.nyud_segmentation(self.root, self.val_split, fields)


@dataclass
class Shapes:
    """Generated scenes, written to a folder below root on first use, then read like VOC.

    side: smallest and largest height and width in pixels. seed: of the scenes.
    """

    root: str
    num_train: int
    num_val: int
    side: tuple[int, int]
    seed: int

    class_names = generated.CLASS_NAMES
    provides = ("rgb",)

    def __post_init__(self) -> None:
        """Raise ValueError if side is not a pair."""
        if len(self.side) != 2:
            raise ValueError(f"side={self.side}: must be a pair [smallest, largest]")

    def train(self, fields: tuple[str, ...]) -> PairedFolders:
        """The training set. Raises DataError if the folder cannot be written."""
        return pascal.voc_segmentation(self._write(), "train", len(self.class_names))

    def val(self, fields: tuple[str, ...]) -> PairedFolders:
        """The validation set: other scenes of the same kind."""
        return pascal.voc_segmentation(self._write(), "val", len(self.class_names))

    def _write(self) -> Path:
        smallest, largest = self.side
        name = f"shapes-{self.num_train}-{self.num_val}-{smallest}-{largest}-{self.seed}"
        folder = Path(self.root).expanduser() / name
        with explain_unwritable(folder):
            return generated.write_shapes(
                folder,
                num_train=self.num_train,
                num_val=self.num_val,
                side=(smallest, largest),
                seed=self.seed,
            )


@dataclass
class Rooms:
    """Generated RGB-D rooms, written to a folder below root on first use, then read like NYUD.

    size: height and width in pixels. seed: of the rooms. surfaces: adds a second task, `geo`, the
    kind of surface that a pixel shows; the first is then called `sem`.
    """

    root: str
    num_train: int
    num_val: int
    size: tuple[int, int]
    seed: int
    surfaces: bool = False

    class_names = ROOM_CLASS_NAMES
    provides = ("rgb", "depth", "hha")

    def __post_init__(self) -> None:
        """Raise ValueError if size is not a pair."""
        if len(self.size) != 2:
            raise ValueError(f"size={self.size}: must be a pair [height, width]")
        if self.surfaces:
            self.class_names = (*ROOM_CLASS_NAMES, *SURFACES)
            self.outputs = {"sem": len(ROOM_CLASS_NAMES), "geo": len(SURFACES)}

    def train(self, fields: tuple[str, ...]) -> PairedFolders:
        """The training set. Raises DataError if the folder cannot be written."""
        return self._samples("train", fields)

    def val(self, fields: tuple[str, ...]) -> PairedFolders:
        """The validation set: other rooms of the same kind."""
        return self._samples("test", fields)

    def _samples(self, split: str, fields: tuple[str, ...]) -> PairedFolders:
        samples = nyud.nyud_segmentation(self._write(), split, fields, len(ROOM_CLASS_NAMES))
        if self.surfaces:  # each class is one kind of surface, so its file tells both labels
            files = replace(samples.label, read=read_surfaces)
            samples.further["geo"] = files, len(SURFACES)
        return samples

    def _write(self) -> Path:
        height, width = self.size
        name = f"rooms-{self.num_train}-{self.num_val}-{height}-{width}-{self.seed}"
        folder = Path(self.root).expanduser() / name
        with explain_unwritable(folder):
            return write_rooms(
                folder,
                num_train=self.num_train,
                num_val=self.num_val,
                size=(height, width),
                seed=self.seed,
            )


def read_surfaces(path: Path) -> np.ndarray:
    """Kind of surface of each pixel of a generated room, uint8 (H, W). Raises DataError."""
    kinds = np.full(VOID + 1, VOID, np.uint8)
    kinds[: len(SURFACE_OF)] = SURFACE_OF
    return kinds[nyud.read_nyud_label(path, len(SURFACE_OF))]


@contextmanager
def explain_unwritable(folder: Path) -> Iterator[None]:
    """Turn OSError while a generated set is written into DataError with advice."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written ({error.strerror}); set data.root or FCNEXP_CACHE to "
            "another folder"
        ) from None


def refuse_overlap(
    train: Sequence[str], val: Sequence[str], what: str, named: int | None = None
) -> None:
    """Raise DataError unless exactly `named` images are in both lists.

    The score of a training image is meaningless; to allow it anyway, say to reproduce a published
    mistake, the user has to state the number of shared images. named: None if the data set has no
    key to state it; no image may be shared then.
    """
    shared = sorted(set(train) & set(val))
    if len(shared) == (named or 0):
        return
    first = f", {shared[0]} first" if shared else ""
    cure = "remove them from one of the two lists"
    if named is not None:
        cure = f"choose disjoint lists, or set data.shared={len(shared)} to allow it"
    raise DataError(
        f"{what} share {len(shared)} images{first}; training images must not be scored: {cure}"
    )
