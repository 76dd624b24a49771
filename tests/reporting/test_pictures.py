"""Which colour is which class, under every sheet of pictures."""

import numpy as np

from fcnexp import VOID
from fcnexp.reporting.legend import GAP, legend
from fcnexp.reporting.pictures import sheet

GREEN = (0, 128, 0)  # of class 2, by VOC's map


def swatches(picture, colour):
    """Pixels of that colour."""
    return int((np.asarray(picture) == colour).all(-1).sum())


def test_each_class_has_a_swatch_of_its_colour():
    strip = legend({1: "cat", 2: "dog"}, 300, 12)
    assert strip.size == (300, 18)
    assert swatches(strip, (128, 0, 0)) == swatches(strip, GREEN) == 11 * 11  # inside a black rim


def test_entries_that_do_not_fit_take_more_lines():
    entries = {index: "a class with a long name" for index in range(4)}
    assert legend(entries, 250, 12).height == 4 * 18


def test_one_entry_wider_than_the_strip_is_not_cut():
    narrow, wide = (legend({1: "a class with a long name"}, width, 12) for width in (20, 400))
    words = np.nonzero((np.asarray(wide) < 128).all(-1).any(0))[0]
    assert narrow.width > words.max() and narrow.width > GAP


def test_a_sheet_tells_its_classes_and_void():
    black = np.zeros((40, 300, 3), np.uint8)
    page = np.asarray(sheet([[black]], ("label",), ("background", "cat", "dog")))
    assert swatches(page, GREEN) > 100
    assert VOID == 255 and (page[-1] == 255).all()
