"""A photograph, its overlay and its classes side by side, with a legend."""

import numpy as np

from fcnexp.reporting import overlays
from fcnexp.reporting.pictures import GAP, colour, overlay

NAMES = ("sky", "sea", "sand")


def page_of(rgb: np.ndarray, label: np.ndarray) -> np.ndarray:
    shares = {2: 0.5, 1: 0.5}  # the largest first, not by number
    return np.asarray(overlays.beside(rgb, label, shares, NAMES))


def halves(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A photograph, dark above and light below, where class 1 is above and class 2 below."""
    label = np.full((height, width), 2, np.uint8)
    label[: height // 2] = 1
    return np.repeat(100 * label[..., None], 3, axis=2), label


def test_panels_are_photograph_overlay_and_classes():
    rgb, label = halves(60, 200)
    page = page_of(rgb, label)
    assert page.shape[1] == 3 * 200 + 4 * GAP
    for i, expected in enumerate((rgb, overlay(rgb, label), colour(label))):
        left = GAP + i * (200 + GAP)
        np.testing.assert_array_equal(page[GAP : GAP + 60, left : left + 200], expected)


def test_legend_has_each_class_in_its_colour_and_in_the_given_order():
    rgb, label = halves(60, 200)
    legend = page_of(rgb, label)[60 + 2 * GAP :]
    palette = colour(np.arange(3, dtype=np.uint8))
    first = {k: np.flatnonzero((legend == palette[k]).all(-1).any(0)) for k in (1, 2)}
    assert first[2].size and first[1].size and first[2].max() < first[1].min()


def test_a_large_photograph_is_scaled_and_its_classes_are_not_mixed():
    rgb, label = halves(1000, 1800)
    page = page_of(rgb, label)
    assert page.shape[1] == 3 * overlays.PANEL + 4 * GAP
    right = page[GAP : GAP + 500, 3 * GAP + 2 * overlays.PANEL :][:, : overlays.PANEL]
    np.testing.assert_array_equal(right, colour(halves(500, 900)[1]))


def test_strips_laid_over_are_the_whole_laid_over():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (2 * overlays.STRIP + 9, 7, 3), dtype=np.uint8)
    label = rng.integers(0, 4, rgb.shape[:2], dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(overlays.laid_over(rgb, label)), overlay(rgb, label))
