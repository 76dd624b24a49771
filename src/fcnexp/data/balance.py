"""Loss weights that balance classes, from their pixel counts in the training labels."""

from typing import NamedTuple

import numpy as np

from fcnexp.data.sample import Samples, value_counts

RULES = ("inverse", "median")


class ClassCounts(NamedTuple):
    """Labelled pixels of a split, int64 (K,) each.

    pixels: of each class. around: of all classes, in the images that contain the class.
    """

    pixels: np.ndarray
    around: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """Fraction of each class among all labelled pixels, float64 (K,)."""
        return self.pixels / max(1, self.pixels.sum())


def count_classes(
    samples: Samples, num_classes: int, void_as: int | None, task: str | None = None
) -> ClassCounts:
    """Counts over all stored labels, before any augmentation.

    void_as: class that void pixels count as; None excludes them. task: a further one, None for the
    first. Raises DataError naming an invalid label.
    """
    pixels, around = np.zeros(num_classes, np.int64), np.zeros(num_classes, np.int64)
    for index in range(len(samples)):
        label = samples.read_further(index, task) if task else samples.read_label(index)
        counts = value_counts(label.numpy(), num_classes)
        if void_as is not None:
            counts[void_as] += counts[-1]
        counts = counts[:num_classes]
        pixels += counts
        around[counts > 0] += counts.sum()
    return ClassCounts(pixels, around)


def class_weights(counts: ClassCounts, rule: str) -> list[float]:
    """Weight of each class; 0 for classes that do not occur.

    rule: `inverse`: all labelled pixels / (classes that occur * the class's pixels), so that all
    classes have the same total weight and the mean over labelled pixels is 1. `median`: the median
    class frequency / the class's own, a frequency being the class's fraction of the pixels of the
    images that contain it (Eigen and Fergus, "Predicting depth, surface normals and semantic
    labels", 2015).
    """
    occurs = counts.pixels > 0
    weights = np.zeros(len(occurs))
    if rule == "inverse":
        weights[occurs] = counts.pixels.sum() / (occurs.sum() * counts.pixels[occurs])
    elif occurs.any():
        frequencies = counts.pixels[occurs] / counts.around[occurs]
        weights[occurs] = np.median(frequencies) / frequencies
    return weights.tolist()
