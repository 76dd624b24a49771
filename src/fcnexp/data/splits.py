"""Data sets by name: what is trained on, what is scored, and what the classes are called."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from fcnexp.data import nyud
from fcnexp.data import voc as pascal
from fcnexp.data.folders import Chosen, PairedFolders, concatenate
from fcnexp.data.generated import shapes as generated
from fcnexp.data.generated.furniture import CLASS_NAMES as ROOM_CLASS_NAMES
from fcnexp.data.generated.rooms import write_rooms
from fcnexp.data.sample import Samples
from fcnexp.errors import DataError


class DataSet(Protocol):
    """A data set's two halves. Naming one touches no file; opening a half does.

    provides: names of the fields that a modality may ask for. Only the files of the `fields` asked
    for are read; a data set that provides `rgb` alone reads that, whatever is asked. Without any,
    `val` may be asked for labels alone.
    """

    class_names: ClassVar[tuple[str, ...]]
    provides: ClassVar[tuple[str, ...]]

    def train(self, fields: tuple[str, ...]) -> Samples:
        """What is trained on. Raises DataError, also where it overlaps with `val`."""
        ...

    def val(self, fields: tuple[str, ...]) -> Samples:
        """What is scored. Raises DataError."""
        ...


@dataclass
class Voc:
    """PASCAL VOC, or your own data of its classes in its layout.

    train_split, val_split: a list's name in ImageSets/Segmentation, or a file of your own.
    """

    root: str
    train_split: str
    val_split: str
    shared: int = 0  # images that are knowingly in both halves

    class_names = pascal.CLASS_NAMES
    provides = ("rgb",)

    def train(self, fields: tuple[str, ...]) -> PairedFolders:
        """The training half, which shares no image with the other."""
        half = pascal.voc_segmentation(self.root, self.train_split, len(self.class_names))
        what = f"{self.train_split} and {self.val_split}"
        refuse_overlap(half.ids, self.val(fields).ids, what, self.shared)
        return half

    def val(self, fields: tuple[str, ...]) -> PairedFolders:
        """The scored half."""
        num_classes = len(self.class_names)
        return pascal.voc_segmentation(self.root, self.val_split, num_classes, images=bool(fields))


@dataclass
class VocSbd:
    """Training on SBD's labels, and on VOC's own where `train_split` names a list; scored on VOC.

    sbd_split: a list's name in SBD's folder, or a file of your own.
    """

    root: str
    train_split: str | None
    val_split: str
    sbd_root: str
    sbd_split: str
    shared: int = 0  # images that are knowingly in both halves

    class_names = pascal.CLASS_NAMES
    provides = ("rgb",)

    def train(self, fields: tuple[str, ...]) -> Chosen:
        """The training half, which shares no image with the other."""
        num_classes = len(self.class_names)
        parts = [pascal.sbd_segmentation(self.sbd_root, self.sbd_split, num_classes)]
        if self.train_split is not None:
            parts.insert(0, pascal.voc_segmentation(self.root, self.train_split, num_classes))
        half = concatenate(parts)
        what = f"the training lists and {self.val_split}"
        refuse_overlap(half.ids, self.val(fields).ids, what, self.shared)
        return half

    def val(self, fields: tuple[str, ...]) -> PairedFolders:
        """The scored half."""
        num_classes = len(self.class_names)
        return pascal.voc_segmentation(self.root, self.val_split, num_classes, images=bool(fields))


@dataclass
class Nyud:
    """NYUDv2 in the papers' layout, 40 classes; colour is 8-bit RGB, depth in mm, HHA as stored.

    train_split, val_split: a list's name in the folder, or a file of your own.
    """

    root: str
    train_split: str
    val_split: str
    shared: int = 0  # images that are knowingly in both halves

    class_names = nyud.CLASS_NAMES
    provides = ("rgb", "depth", "hha")

    def train(self, fields: tuple[str, ...]) -> PairedFolders:
        """The training half, which shares no image with the other."""
        half = nyud.nyud_segmentation(self.root, self.train_split, fields)
        what = f"{self.train_split} and {self.val_split}"
        refuse_overlap(half.ids, self.val(fields).ids, what, self.shared)
        return half

    def val(self, fields: tuple[str, ...]) -> PairedFolders:
        """The scored half."""
        return nyud.nyud_segmentation(self.root, self.val_split, fields)


@dataclass
class Shapes:
    """Generated scenes, written on first use to a folder below root, then read like VOC's.

    side: least and greatest height and width in pixels. seed: of the scenes.
    """

    root: str
    num_train: int
    num_val: int
    side: tuple[int, int]
    seed: int

    class_names = generated.CLASS_NAMES
    provides = ("rgb",)

    def __post_init__(self) -> None:
        """Raise ValueError where side is not a pair."""
        if len(self.side) != 2:
            raise ValueError(f"side={self.side}: two numbers, least and greatest")

    def train(self, fields: tuple[str, ...]) -> PairedFolders:
        """The training half. Raises DataError where the folder cannot be written."""
        return pascal.voc_segmentation(self._write(), "train", len(self.class_names))

    def val(self, fields: tuple[str, ...]) -> PairedFolders:
        """The scored half: scenes of the same kind that training never saw."""
        return pascal.voc_segmentation(self._write(), "val", len(self.class_names))

    def _write(self) -> Path:
        smallest, largest = self.side
        name = f"shapes-{self.num_train}-{self.num_val}-{smallest}-{largest}-{self.seed}"
        folder = Path(self.root).expanduser() / name
        with clear_where_unwritable(folder):
            return generated.write_shapes(
                folder,
                num_train=self.num_train,
                num_val=self.num_val,
                side=(smallest, largest),
                seed=self.seed,
            )


@dataclass
class Rooms:
    """Generated RGB-D rooms, written on first use to a folder below root, then read like NYUD's.

    size: height and width in pixels. seed: of the rooms.
    """

    root: str
    num_train: int
    num_val: int
    size: tuple[int, int]
    seed: int

    class_names = ROOM_CLASS_NAMES
    provides = ("rgb", "depth", "hha")

    def __post_init__(self) -> None:
        """Raise ValueError where size is not a pair."""
        if len(self.size) != 2:
            raise ValueError(f"size={self.size}: two numbers, height and width")

    def train(self, fields: tuple[str, ...]) -> PairedFolders:
        """The training half. Raises DataError where the folder cannot be written."""
        return nyud.nyud_segmentation(self._write(), "train", fields, len(self.class_names))

    def val(self, fields: tuple[str, ...]) -> PairedFolders:
        """The scored half: rooms of the same kind that training never saw."""
        return nyud.nyud_segmentation(self._write(), "test", fields, len(self.class_names))

    def _write(self) -> Path:
        height, width = self.size
        name = f"rooms-{self.num_train}-{self.num_val}-{height}-{width}-{self.seed}"
        folder = Path(self.root).expanduser() / name
        with clear_where_unwritable(folder):
            return write_rooms(
                folder,
                num_train=self.num_train,
                num_val=self.num_val,
                size=(height, width),
                seed=self.seed,
            )


@contextmanager
def clear_where_unwritable(folder: Path) -> Iterator[None]:
    """Turn the system's error on writing a generated set into a DataError that helps."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written ({error.strerror}); name another folder by data.root or "
            "FCNEXP_CACHE"
        ) from None


def refuse_overlap(train: Sequence[str], val: Sequence[str], what: str, named: int = 0) -> None:
    """Raise DataError where more or fewer images are in both lists than were named.

    The score of an image that was trained on says nothing; whoever wants it all the same, say to
    repeat somebody's mistake, names how many there are.
    """
    shared = sorted(set(train) & set(val))
    if len(shared) != named:
        first = f", {shared[0]} first" if shared else ""
        raise DataError(
            f"{what} share {len(shared)} images{first}; an image that is trained on cannot be "
            f"scored: choose disjoint lists, or, knowingly, data.shared={len(shared)}"
        )
