"""Masks that do not fit their photographs are noticed if it is a habit, and only then."""

import numpy as np
import pytest

from fcnexp.data.alignment import CHANGES, LEAST_MASKS, change_of_one, fits_of, suspicious

SIZE = (90, 120)


def scene(seed: int, size=SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Photograph of noise with a darker and a brighter box anywhere, and its mask."""
    rng = np.random.default_rng(seed)
    picture, label = rng.normal(120, 10, (*size, 3)), np.zeros(size, np.uint8)
    for c, grey in ((1, 60), (2, 190)):
        y, x = rng.integers(0, size[0] - 30), rng.integers(0, size[1] - 40)
        picture[y : y + 30, x : x + 40] = rng.normal(grey, 10, (30, 40, 3))
        label[y : y + 30, x : x + 40] = c
    return picture.clip(0, 255).astype(np.uint8), label


def fits(change, count=20, size=SIZE):
    return [
        fits_of(picture, change(label)) for picture, label in (scene(i, size) for i in range(count))
    ]


WRONG = {
    "mirrored left to right": lambda m: m[:, ::-1],
    "mirrored top to bottom": lambda m: m[::-1],
    "turned by 180 degrees": lambda m: m[::-1, ::-1],
    "shifted left by 6 % of the longer side": lambda m: np.roll(m, 7, 1),
    "shifted down by 3 % of the longer side": lambda m: np.roll(m, -4, 0),
}
SQUARE = {  # what undoes it
    "turned by 90 degrees anticlockwise": lambda m: np.rot90(m, -1),
    "turned by 90 degrees clockwise": lambda m: np.rot90(m),
    "transposed": lambda m: m.T,
}


@pytest.mark.parametrize("name", [*WRONG, *SQUARE])
def test_a_change_of_all_masks_is_named(name):
    found = suspicious(fits((WRONG | SQUARE)[name], size=SIZE if name in WRONG else (100, 100)))
    assert found is not None and found[0] == name and found[1] >= 16


def test_masks_that_fit_are_not_suspicious():
    right = fits(lambda m: m)
    assert suspicious(right) is None and not any(map(change_of_one, right))
    assert suspicious(fits(lambda m: m, size=(100, 100))) is None


def test_single_masks_are_named_with_their_change():
    assert [change_of_one(each) for each in fits(lambda m: m[::-1], 5)] == [
        "mirrored top to bottom"
    ] * 5
    wide = fits(lambda m: m[:, ::-1], 3, size=(60, 160))  # no right angle keeps its shape
    assert [change_of_one(each) for each in wide] == ["mirrored left to right"] * 3


def test_a_few_wrong_masks_and_too_few_masks_are_not_judged():
    right, wrong = fits(lambda m: m), fits(lambda m: m[::-1])
    assert suspicious([*wrong[:5], *right[5:]]) is None
    assert suspicious(wrong[: LEAST_MASKS - 1]) is None
    assert suspicious(wrong[:LEAST_MASKS]) is not None


def test_masks_that_say_nothing_about_edges_are_not_suspicious():
    rng = np.random.default_rng(0)
    noise = [fits_of(rng.integers(0, 256, (*SIZE, 3), np.uint8), scene(i)[1]) for i in range(40)]
    assert suspicious(noise) is None and not any(map(change_of_one, noise))
    assert fits_of(np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, np.uint8)) is None


def test_large_photographs_are_compared_as_small_ones():
    picture, label = scene(0)
    large = fits_of(picture.repeat(5, 0).repeat(5, 1), label.repeat(5, 0).repeat(5, 1))
    small = fits_of(picture, label)
    assert len(large) == 1 + len(CHANGES)
    assert large[0] > 0.8 and abs(large[0] - small[0]) < 0.1


@pytest.mark.parametrize(("gain", "expected"), [(0.01, None), (0.2, (CHANGES[2], 20))])
def test_a_small_gain_of_all_masks_proves_nothing(gain, expected):
    fit = np.full(1 + len(CHANGES), 0.6, np.float32)
    fit[1 + 2] += gain
    assert suspicious([fit] * 20) == expected
