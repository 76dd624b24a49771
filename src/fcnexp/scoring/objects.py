"""Objects by size: how much of each connected piece of the ground truth is found.

An object is a connected component of one class in the ground truth, with the 8 neighbours of each
pixel. Label maps tell classes, not objects: touching objects of one class count as one, and an
object that another one, or void, cuts in two counts as two. Void is no class.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fcnexp import VOID
from fcnexp.scoring.per_image import OBJECTS, PerImage, Table

SIZES = (8, 16, 32, 64, 128)  # pixels, root of the area: the strides of the nets
NEIGHBOURS = np.ones((3, 3), int)
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
    """Class, area and found pixels of each object in one image.

    label, prediction: uint8 (H, W), class indices and, in the label, VOID.
    """
    from scipy import ndimage  # slow to import

    classes, areas, found = [], [], []
    present = np.flatnonzero(np.bincount(label.reshape(-1), minlength=VOID)[:VOID])
    for value in present.tolist():
        inside = label == value
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        pieces, number = ndimage.label(inside[box], NEIGHBOURS)
        hit = pieces[prediction[box] == value]
        classes.append(np.full(number, value, np.uint8))
        areas.append(np.bincount(pieces.reshape(-1), minlength=number + 1)[1:])
        found.append(np.bincount(hit, minlength=number + 1)[1:])
    empty = np.zeros(0, np.int64)
    return (
        np.concatenate(classes or [np.zeros(0, np.uint8)]),
        np.concatenate(areas or [empty]),
        np.concatenate(found or [empty]),
    )


def by_class_and_size(per_image: PerImage, sizes: Sequence[float] = SIZES) -> Found | None:
    """Objects by class and size, (K, bins); None if they were not counted.

    sizes: limits of the bins, in pixels, increasing. An object belongs to the first bin whose limit
    the root of its area is below.
    """
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
