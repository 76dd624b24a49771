"""What a scoring keeps of each image: its confusion counts, and its objects.

Counts are sparse: of the K x K cells of an image, a few dozen are not zero. The file `images.npz`
holds them without loss in the smallest integer types, so that any score, on any subset of the
images, can be recomputed without the network.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcnexp.errors import DataError
from fcnexp.system.atomic import atomic_file
from fcnexp.system.os_errors import reraise_system_error

IMAGES = "images.npz"
WHOLE = "whole"  # the counts of all labelled pixels; `band_3`: those within 3 pixels of a boundary
OBJECTS = "objects"
MOST_BYTES = 2**31  # of all tables: those of VOC's 1,449 images have 0.1 % of it
COUNTS = ("pairs", "counts")
OBJECT_FACTS = ("classes", "areas", "found")

Table = tuple[np.ndarray, ...]  # columns of equal length


class ImageRecord(NamedTuple):
    """What is kept of one image.

    tables: by name. `whole` and `band_WIDTH`: the cell of the confusion matrix, truth * K +
    prediction, and its pixels, for the cells that are not zero. `objects`: class, area in pixels,
    and pixels predicted as that class, of each object.
    """

    name: str
    tables: Mapping[str, Table]


class PerImage(NamedTuple):
    """The records of N images, one after the other.

    names: of the images. classes: names. tables: by name, the offset at which each image's lines
    begin, int64 (N + 1), followed by the columns.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    tables: dict[str, Table]

    def matrix(self, table: str = WHOLE) -> np.ndarray:
        """Confusion matrix of all images, int64 (K, K): rows ground truth."""
        size = len(self.classes)
        _, pairs, counts = self.tables[table]
        summed = np.zeros(size * size, np.int64)
        np.add.at(summed, pairs, counts)
        return summed.reshape(size, size)

    def margins(self, table: str = WHOLE) -> np.ndarray:
        """Pixels of each image that are hits, ground truth, prediction: float64 (N, 3, K).

        All scores of any sum of images follow from the sums of these; they are integers.
        """
        images, size = len(self.names), len(self.classes)
        offsets, pairs, counts = self.tables[table]
        image = np.repeat(np.arange(images), np.diff(offsets))
        truth, guess = np.divmod(pairs.astype(np.int64), size)

        def summed(classes: np.ndarray, weights: np.ndarray) -> np.ndarray:
            cells = np.bincount(image * size + classes, weights, images * size)
            return cells.reshape(images, size)

        hits = counts * (truth == guess)
        return np.stack([summed(truth, hits), summed(truth, counts), summed(guess, counts)], 1)

    def bands(self) -> list[int]:
        """Widths of the bands along boundaries that were counted, in pixels."""
        return sorted(int(n.removeprefix("band_")) for n in self.tables if n.startswith("band_"))


def band_name(width: int) -> str:
    """Name of the table of a band along boundaries."""
    return f"band_{width}"


def sparse(matrix: np.ndarray) -> Table:
    """Cells of a confusion matrix that are not zero: their index in the flat matrix, and pixels."""
    flat = matrix.reshape(-1)
    cells = np.flatnonzero(flat)
    return cells, flat[cells]


def joined(records: Sequence[ImageRecord], classes: Sequence[str]) -> PerImage:
    """Put the records of single images together, in the order given."""
    tables: dict[str, Table] = {}
    for name in dict.fromkeys(name for record in records for name in record.tables):
        parts = [record.tables[name] for record in records]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        offsets = np.cumsum([0, *(len(part[0]) for part in parts)])
        tables[name] = (offsets, *columns)
    return PerImage(tuple(record.name for record in records), tuple(classes), tables)


def dealt_order(parts: Sequence[Sequence[ImageRecord]]) -> list[ImageRecord]:
    """Records in the order of the data, from processes that each took every P-th image."""
    longest = max(map(len, parts), default=0)
    return [part[i] for i in range(longest) for part in parts if i < len(part)]


def write_per_image(folder: Path, per_image: PerImage, matrix: np.ndarray) -> None:
    """Write images.npz. matrix: int64 (K, K), of the whole set, to which the images must add up."""
    assert np.array_equal(per_image.matrix(), matrix), "images do not add up to the matrix"
    arrays = {"names": np.array(per_image.names, str), "classes": np.array(per_image.classes, str)}
    for table, (offsets, *columns) in per_image.tables.items():
        heads = OBJECT_FACTS if table == OBJECTS else COUNTS
        for head, column in zip(("offsets", *heads), (offsets, *columns), strict=True):
            arrays[f"{table}/{head}"] = _smallest(column)
    with atomic_file(folder / IMAGES) as part, part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_per_image(folder: Path) -> PerImage | None:
    """Contents of a run's images.npz; None if it has none. Raises DataError if it is damaged."""
    path = folder / IMAGES
    if not path.is_file():
        return None
    try:
        _refuse_bomb(path)
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return _checked(arrays)
    except Exception as error:  # NumPy and zipfile raise many types
        reraise_system_error(error)
        raise DataError(
            f"{path}: damaged; remove it to do without intervals, or score the run again with "
            "evaluate"
        ) from None


def _refuse_bomb(path: Path) -> None:
    """Raise ValueError if the arrays would take more memory than the counts of any data set."""
    with zipfile.ZipFile(path) as archive:
        if sum(one.file_size for one in archive.infolist()) > MOST_BYTES:
            raise ValueError("too large")


def _checked(arrays: dict[str, np.ndarray]) -> PerImage:
    """Raise ValueError or KeyError if these arrays are no valid record."""
    names, classes = (tuple(map(str, arrays[key].tolist())) for key in ("names", "classes"))
    tables: dict[str, Table] = {}
    for table in dict.fromkeys(key.partition("/")[0] for key in arrays if "/" in key):
        heads = OBJECT_FACTS if table == OBJECTS else COUNTS
        offsets, *columns = (arrays[f"{table}/{head}"] for head in ("offsets", *heads))
        offsets = offsets.astype(np.int64)
        valid = (
            all(a.ndim == 1 and a.dtype.kind == "u" for a in columns)
            and offsets.shape == (len(names) + 1,)
            and offsets[0] == 0
            and (np.diff(offsets) >= 0).all()
            and all(len(column) == offsets[-1] for column in columns)
            and _in_range(table, columns, len(classes))
        )
        if not valid:
            raise ValueError(table)
        tables[table] = (offsets, *columns)
    if WHOLE not in tables or not classes:
        raise ValueError(WHOLE)
    return PerImage(names, classes, tables)


def _in_range(table: str, columns: Sequence[np.ndarray], classes: int) -> bool:
    """True if all classes exist, and no object has more pixels found than it has."""
    cells = classes if table == OBJECTS else classes**2
    inside = not len(columns[0]) or int(columns[0].max()) < cells
    return inside and (table != OBJECTS or bool((columns[2] <= columns[1]).all()))


def _smallest(values: np.ndarray) -> np.ndarray:
    """The same non-negative integers in the smallest unsigned type."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))
