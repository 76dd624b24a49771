"""Objects by size: how much of each connected piece of the ground truth is found.

An object is a connected component of one class in the ground truth, with the 8 neighbours of each
pixel. Label maps tell classes, not objects: touching objects of one class count as one, and an
object that another one, or void, cuts in two counts as two. Void is no class.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fcnexp import void_of
from fcnexp.scoring.per_image import OBJECTS, PerImage, Table

SIZES = (8, 16, 32, 64, 128)  # pixels, root of the area: the strides of the nets
BACKGROUND = "background"  # what is left, rather than objects: not in the sums over classes


class Found(NamedTuple):
    """How well the objects of some classes are found, by size: integers (bins,).

    objects: number. pixels: their area. found: pixels predicted as the object's class. missed:
    objects of which less than 10 % is found. well: objects of which more than 50 % is found.
    """

    objects: np.ndarray
    pixels: np.ndarray
    found: np.ndarray
    missed: np.ndarray
    well: np.ndarray

    def shares(self) -> dict[str, list[float | None]]:
        """Fractions by name, one per bin; None for a bin without objects."""
        return {
            "found": _divided(self.found, self.pixels),
            "missed": _divided(self.missed, self.objects),
            "well": _divided(self.well, self.objects),
        }


def objects_of(label: np.ndarray, prediction: np.ndarray) -> Table:
    """Class, area and found pixels of each object in one image, in the order of their first pixels.

    label, prediction: (H, W), class indices and, in the label, void. Joins runs of equal
    pixels within a row, all classes at once: five times as fast as labelling class by class. Raises
    ValueError if the two differ in shape or are not of integers.
    """
    if label.shape != prediction.shape or {label.dtype.kind, prediction.dtype.kind} - set("ui"):
        raise ValueError(
            f"label is {label.dtype} {label.shape} and prediction {prediction.dtype} "
            f"{prediction.shape}; give integers of one shape (H, W)"
        )
    from scipy.sparse import coo_array  # slow to import
    from scipy.sparse.csgraph import connected_components

    starts, ends = _runs(label)
    values = label.reshape(-1)[starts]
    first, second = _touching(starts, ends, label.shape[1])
    same = values[first] == values[second]
    edges = (np.ones(same.sum(), bool), (first[same], second[same]))
    graph = coo_array(edges, shape=(len(starts), len(starts)))
    number, piece = connected_components(graph, directed=False)
    hits = np.cumsum(np.append(0, (label == prediction).reshape(-1)))
    classes = np.zeros(number, label.dtype)
    classes[piece] = values
    areas = np.bincount(piece, ends - starts, number).astype(np.int64)
    found = np.bincount(piece, hits[ends] - hits[starts], number).astype(np.int64)
    seen = classes != void_of(label)
    return classes[seen], areas[seen], found[seen]


def _runs(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices of where each run of equal labels in a row begins, and of where it ends."""
    changes = np.ones(label.shape, bool)
    changes[:, 1:] = label[:, 1:] != label[:, :-1]
    starts = np.flatnonzero(changes)
    return starts, np.append(starts[1:], label.size)


def _touching(starts: np.ndarray, ends: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs in neighbouring rows that share a side or a corner of a pixel."""
    row, column = np.divmod(starts, width)
    step = width + 2  # between rows, so that a run's end stays below the next row
    begin, end = row * step + column, row * step + column + (ends - starts)
    low = np.searchsorted(end, begin + step, "left")
    high = np.searchsorted(begin, end + step, "right")
    counts = np.maximum(high - low, 0)
    first = np.repeat(np.arange(len(starts)), counts)
    inside = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    return first, np.repeat(low, counts) + inside


def by_class_and_size(per_image: PerImage, sizes: Sequence[float] = SIZES) -> Found | None:
    """Objects by class and size, (K, bins); None if they were not counted.

    sizes: limits of the bins, in pixels, increasing. An object belongs to the first bin whose limit
    the root of its area is below. Raises ValueError if they are not increasing.
    """
    if any(b <= a for a, b in zip((0, *sizes), sizes, strict=False)):
        raise ValueError(f"sizes={sizes}: must be above 0 and increasing")
    if OBJECTS not in per_image.tables:
        return None
    _, classes, areas, found = (each.astype(np.int64) for each in per_image.tables[OBJECTS])
    bins = np.searchsorted(np.square(np.asarray(sizes, float)), areas, side="right")
    cells = classes * (len(sizes) + 1) + bins

    def summed(values: np.ndarray) -> np.ndarray:
        sums = np.zeros(len(per_image.classes) * (len(sizes) + 1), np.int64)
        np.add.at(sums, cells, values)
        return sums.reshape(-1, len(sizes) + 1)

    return Found(
        summed(np.ones_like(areas)),
        summed(areas),
        summed(found),
        summed(10 * found < areas),
        summed(2 * found > areas),
    )


def over_classes(found: Found, classes: Sequence[str]) -> Found:
    """Sums over all classes but the background."""
    kept = [i for i, name in enumerate(classes) if name != BACKGROUND]
    return Found(*(each[kept].sum(0) for each in found))


def added(parts: Sequence[Found]) -> Found:
    """Sum of several runs."""
    return Found(*(np.sum(each, axis=0) for each in zip(*parts, strict=True)))


def size_names(sizes: Sequence[float] = SIZES) -> list[str]:
    """Name of each bin, such as `8-16`."""
    limits = [f"{size:g}" for size in sizes]
    inner = [f"{a}-{b}" for a, b in zip(limits, limits[1:], strict=False)]
    return [f"< {limits[0]}", *inner, f">= {limits[-1]}"]


def _divided(part: np.ndarray, whole: np.ndarray) -> list[float | None]:
    return [p / w if w else None for p, w in zip(part.tolist(), whole.tolist(), strict=True)]
