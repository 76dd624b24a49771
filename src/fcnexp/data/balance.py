"""Weights that balance classes, from how often each occurs among the labels trained on."""

from typing import NamedTuple

import numpy as np

from fcnexp import VOID
from fcnexp.data.sample import Samples

RULES = ("inverse", "median")


class ClassCounts(NamedTuple):
    """Labelled pixels of a half of a data set, int64 (K,) each.

    pixels: of each class. around: of all classes, in those images that have the class.
    """

    pixels: np.ndarray
    around: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """Share of each class in all labelled pixels, float64 (K,)."""
        return self.pixels / max(1, self.pixels.sum())


def count_classes(samples: Samples, num_classes: int, void_as: int | None) -> ClassCounts:
    """Counts over all labels as stored, before any augmentation.

    void_as: class that void pixels count as; None leaves them out. Raises DataError naming a label
    that is wrong.
    """
    pixels, around = np.zeros(num_classes, np.int64), np.zeros(num_classes, np.int64)
    for index in range(len(samples)):
        counts = np.bincount(samples.read_label(index).numpy().ravel(), minlength=VOID + 1)
        if void_as is not None:
            counts[void_as] += counts[VOID]
        counts = counts[:num_classes]
        pixels += counts
        around[counts > 0] += counts.sum()
    return ClassCounts(pixels, around)


def class_weights(counts: ClassCounts, rule: str) -> list[float]:
    """Weight of each class; one that never occurs weighs 0.

    rule: `inverse`, all labelled pixels / (classes that occur * the class's pixels), so that every
    class weighs the same in sum and the mean over labelled pixels is 1; `median`, the median of the
    classes' frequencies / the class's own, a frequency being the class's share in those images that
    have it (Eigen and Fergus, "Predicting depth, surface normals and semantic labels", 2015).
    """
    occurs = counts.pixels > 0
    weights = np.zeros(len(occurs))
    if rule == "inverse":
        weights[occurs] = counts.pixels.sum() / (occurs.sum() * counts.pixels[occurs])
    elif occurs.any():
        frequencies = counts.pixels[occurs] / counts.around[occurs]
        weights[occurs] = np.median(frequencies) / frequencies
    return weights.tolist()
