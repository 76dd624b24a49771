"""Legends: one swatch per class, also below contact sheets."""

import numpy as np

from fcnexp import VOID
from fcnexp.reporting.pictures import GAP, legend, sheet

GREEN = (0, 128, 0)  # class 2 in VOC's colour map


def count_pixels(picture, colour):
    """Number of pixels of one colour."""
    return int((np.asarray(picture) == colour).all(-1).sum())


def test_each_class_has_a_swatch_of_its_colour():
    strip = legend({1: "cat", 2: "dog"}, 300, 12)
    assert strip.size == (300, 18)
    assert count_pixels(strip, (128, 0, 0)) == count_pixels(strip, GREEN) == 11 * 11  # without rim


def test_entries_wrap_to_more_lines():
    entries = {index: "a class with a long name" for index in range(4)}
    assert legend(entries, 250, 12).height == 4 * 18


def test_strip_grows_for_an_entry_wider_than_it():
    narrow, wide = (legend({1: "a class with a long name"}, width, 12) for width in (20, 400))
    text = np.nonzero((np.asarray(wide) < 128).all(-1).any(0))[0]
    assert narrow.width > text.max() and narrow.width > GAP


def test_sheet_has_a_legend_of_classes_and_void():
    black = np.zeros((40, 300, 3), np.uint8)
    page = np.asarray(sheet([[black]], ("label",), ("background", "cat", "dog")))
    assert count_pixels(page, GREEN) > 100
    assert VOID == 255 and (page[-1] == 255).all()
