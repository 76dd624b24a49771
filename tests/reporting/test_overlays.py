"""Image, overlay and labels side by side, with a legend."""

import numpy as np

from fcnexp.reporting import overlays
from fcnexp.reporting.pictures import GAP, colour, overlay

NAMES = ("sky", "sea", "sand")


def page_of(rgb: np.ndarray, label: np.ndarray) -> np.ndarray:
    fractions = {2: 0.5, 1: 0.5}  # legend order, not index order
    return np.asarray(overlays.side_by_side(rgb, label, fractions, NAMES))


def halves(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """An image with a dark top half of class 1 and a light bottom half of class 2."""
    label = np.full((height, width), 2, np.uint8)
    label[: height // 2] = 1
    return np.repeat(100 * label[..., None], 3, axis=2), label


def test_panels_are_image_overlay_and_labels():
    rgb, label = halves(60, 200)
    page = page_of(rgb, label)
    assert page.shape[1] == 3 * 200 + 4 * GAP
    for i, expected in enumerate((rgb, overlay(rgb, label), colour(label))):
        left = GAP + i * (200 + GAP)
        np.testing.assert_array_equal(page[GAP : GAP + 60, left : left + 200], expected)


def test_legend_has_the_class_colours_in_the_given_order():
    rgb, label = halves(60, 200)
    legend = page_of(rgb, label)[60 + 2 * GAP :]
    palette = colour(np.arange(3, dtype=np.uint8))
    first = {k: np.flatnonzero((legend == palette[k]).all(-1).any(0)) for k in (1, 2)}
    assert first[2].size and first[1].size and first[2].max() < first[1].min()


def test_large_image_is_scaled_down_without_mixing_labels():
    rgb, label = halves(1000, 1800)
    page = page_of(rgb, label)
    assert page.shape[1] == 3 * overlays.PANEL + 4 * GAP
    right = page[GAP : GAP + 500, 3 * GAP + 2 * overlays.PANEL :][:, : overlays.PANEL]
    np.testing.assert_array_equal(right, colour(halves(500, 900)[1]))


def test_overlay_in_strips_equals_overlay_of_the_full_image():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (2 * overlays.STRIP + 9, 7, 3), dtype=np.uint8)
    label = rng.integers(0, 4, rgb.shape[:2], dtype=np.uint8)
    np.testing.assert_array_equal(
        np.asarray(overlays.full_overlay(rgb, label)), overlay(rgb, label)
    )
