"""Pictures that are the same, or nearly, are found; others are not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from fcnexp.data.likeness import alike, look_of, same


def photograph(seed: int, size=(120, 160)) -> Image.Image:
    """Smooth regions with some detail, as photographs have."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    smooth = np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC), float)
    return Image.fromarray((smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8))


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=quality)
    return Image.open(stored).convert("RGB")


def marked(image: Image.Image) -> Image.Image:
    """The image with a white mark in its corner, as a camera's date."""
    copy = image.copy()
    copy.paste((255, 255, 255), (4, 110, 28, 118))
    return copy


def looks(*images: Image.Image):
    return [look_of(np.asarray(image)) for image in images]


CHANGES = {
    "JPEG": lambda image: as_jpeg(image, 40),
    "smaller": lambda image: image.resize((100, 75)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "with a mark": marked,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_alike_but_not_the_same(name):
    others = [photograph(seed) for seed in range(5)]
    found = looks(*others, CHANGES[name](others[2]))
    assert alike(found) == [[2, 5]] and same(found) == []


def test_the_same_pixels_are_the_same_and_not_listed_twice():
    first, second = photograph(0), photograph(1)
    found = looks(first, second, first.copy(), first.copy())
    assert same(found) == [[0, 2, 3]] and alike(found) == []
    assert alike([*found, *looks(as_jpeg(first, 50))]) == [[0, 2, 3, 4]]


def test_sizes_are_part_of_the_picture():
    flat = looks(Image.new("RGB", (8, 4)), Image.new("RGB", (4, 8)))
    assert same(flat) == []


def test_flat_and_mirrored_pictures_are_not_alike():
    flat = [Image.new("RGB", (40, 30), (grey,) * 3) for grey in (0, 1, 90)]
    one = photograph(3)
    assert alike(looks(*flat, one, one.transpose(Image.Transpose.FLIP_LEFT_RIGHT))) == []


def test_many_different_pictures_give_no_pair():
    assert alike(looks(*(photograph(seed, (40, 50)) for seed in range(1300)))) == []


def test_pictures_of_the_same_hash_are_not_alike_if_they_differ():
    ramp = np.repeat(np.arange(60, 180, dtype=np.uint8)[:, None], 160, axis=1)
    down, up = (np.repeat(each[..., None], 3, axis=-1) for each in (ramp, ramp[::-1]))
    first, second = look_of(down), look_of(up)  # the hash compares neighbours in a row alone
    np.testing.assert_array_equal(first.bits, second.bits)
    assert alike([first, second]) == [] and alike([first, look_of(down + 1)]) == [[0, 1]]
