import itertools

import pytest

from fcnexp.data.sampling import EndlessShuffle, ReleaseDraws


def draws(num_images: int, seed: int, count: int) -> list:
    return list(itertools.islice(EndlessShuffle(num_images, seed), count))


def test_each_round_has_every_image_once():
    images = [draw.image for draw in draws(7, seed=1, count=21)]
    for start in (0, 7, 14):
        assert sorted(images[start : start + 7]) == list(range(7))
    assert images[:7] != images[7:14]


def test_draws_are_numbered_and_depend_only_on_the_seed():
    assert [draw.number for draw in draws(3, seed=0, count=8)] == list(range(8))
    assert draws(50, seed=4, count=60) == draws(50, seed=4, count=60)
    assert draws(50, seed=4, count=50) != draws(50, seed=5, count=50)


@pytest.mark.parametrize("order", [EndlessShuffle, ReleaseDraws])
@pytest.mark.parametrize("start", [1, 6, 7, 8, 30])  # 7 images per round
def test_later_start_gives_the_remaining_draws(order, start):
    from_first = list(itertools.islice(order(7, seed=3), start + 20))
    assert list(itertools.islice(order(7, seed=3, start=start), 20)) == from_first[start:]


def test_release_draws_equal_python_2_randint():
    """int(Random(1337).random() * 8498) for SBD train's 8498 images; Python 3's randint differs."""
    draws = list(itertools.islice(ReleaseDraws(8498, seed=1337), 6))
    assert [draw.image for draw in draws] == [5249, 4531, 3108, 4978, 1408, 7005]
    assert [draw.number for draw in draws] == list(range(6))


def test_release_draws_reach_every_image_evenly_and_repeat_some():
    images = [draw.image for draw in itertools.islice(ReleaseDraws(5, seed=0), 5000)]
    assert len(set(images[:5])) < 5
    assert all(850 < images.count(image) < 1150 for image in range(5))  # 1000 +- 5 deviations
