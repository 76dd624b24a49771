"""Objects by size, compared with a flood fill."""

import numpy as np
import pytest
from scored_images import NAMES, per_image_of
from slow_bootstrap import pieces

from fcnexp import VOID
from fcnexp.scoring.objects import (
    SIZES,
    added,
    by_class_and_size,
    objects_of,
    over_classes,
    size_names,
)


def speckled(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A label map of thin and touching pieces, void in between, and a prediction."""
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 14, 2)
    classes = rng.choice([0, 1, 2, 3, VOID], size=size, p=[0.3, 0.3, 0.15, 0.15, 0.1])
    if seed % 2:
        classes = np.kron(classes, np.ones((2, 3), int))[: size[0], : size[1]]
    return classes.astype(np.uint8), rng.integers(0, 4, classes.shape, np.uint8)


def test_200_random_maps_equal_a_flood_fill():
    number = 0
    for seed in range(200):
        label, prediction = speckled(seed)
        slow = sorted(
            (value, len(piece), sum(prediction[place] == value for place in piece))
            for value, piece in pieces(label.tolist())
        )
        fast = sorted(
            zip(*(column.tolist() for column in objects_of(label, prediction)), strict=True)
        )
        assert fast == slow
        number += len(slow)
    print(f"objects: {number} in 200 maps equal to a flood fill")
    assert number > 2000


def test_diagonal_neighbours_are_one_object_and_void_is_none():
    label = np.array([[1, 0, VOID], [0, 1, VOID], [VOID, VOID, VOID]], np.uint8)
    classes, areas, found = objects_of(label, np.ones_like(label))
    assert classes.tolist() == [1, 0] and areas.tolist() == [2, 2] and found.tolist() == [2, 0]


def test_image_of_void_has_no_objects():
    label = np.full((3, 4), VOID, np.uint8)
    assert [len(column) for column in objects_of(label, label)] == [0, 0, 0]


def test_bins_are_by_the_root_of_the_area_and_limits_belong_to_the_upper_bin():
    label = np.zeros((40, 120), np.uint8)
    label[:8, :7] = 1  # 56 pixels
    label[:8, 20:28] = 1  # 64
    label[10:26, 40:56] = 2  # 256
    found = by_class_and_size(per_image_of([label], [label]))
    assert size_names() == ["< 8", "8-16", "16-32", "32-64", "64-128", ">= 128"]
    assert found.objects[1].tolist() == [1, 1, 0, 0, 0, 0]
    assert found.objects[2].tolist() == [0, 0, 1, 0, 0, 0]
    assert found.objects[0].tolist() == [0, 0, 0, 0, 1, 0]  # the background is one
    assert over_classes(found, NAMES).objects.tolist() == [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(("pixels", "missed", "well"), [(0, 1, 0), (9, 1, 0), (10, 0, 0)])
def test_nearly_missed_is_less_than_a_tenth(pixels, missed, well):
    check_limits(pixels, missed, well)


@pytest.mark.parametrize(("pixels", "missed", "well"), [(50, 0, 0), (51, 0, 1), (100, 0, 1)])
def test_well_found_is_more_than_half(pixels, missed, well):
    check_limits(pixels, missed, well)


def check_limits(pixels: int, missed: int, well: int) -> None:
    label = np.ones((10, 10), np.uint8)
    prediction = (np.arange(100) < pixels).astype(np.uint8).reshape(10, 10)
    found = by_class_and_size(per_image_of([label], [prediction]))
    assert (found.missed[1, 1], found.well[1, 1], found.found[1, 1]) == (missed, well, pixels)


def test_objects_hold_every_labelled_pixel_and_every_hit():
    maps = [speckled(seed) for seed in range(40)]
    record = per_image_of(*zip(*maps, strict=True))
    found = by_class_and_size(record)
    assert found.pixels.sum(1).tolist() == record.matrix().sum(1).tolist()
    assert found.found.sum(1).tolist() == record.matrix().diagonal().tolist()
    assert np.array_equal(by_class_and_size(record, (3,)).objects.sum(1), found.objects.sum(1))
    assert np.array_equal(added([found, found]).pixels, 2 * found.pixels)


def test_share_of_an_empty_bin_is_none():
    label = np.zeros((4, 4), np.uint8)
    shares = over_classes(by_class_and_size(per_image_of([label], [label])), NAMES).shares()
    assert shares["missed"] == [None] * (len(SIZES) + 1)
