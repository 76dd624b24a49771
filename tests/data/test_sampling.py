import itertools

from fcnexp.data.sampling import EndlessShuffle


def draws(num_images: int, seed: int, count: int) -> list:
    return list(itertools.islice(EndlessShuffle(num_images, seed), count))


def test_each_round_has_every_image_once():
    images = [draw.image for draw in draws(7, seed=1, count=21)]
    for start in (0, 7, 14):
        assert sorted(images[start : start + 7]) == list(range(7))
    assert images[:7] != images[7:14]


def test_draws_are_numbered_and_depend_on_the_seed_alone():
    assert [draw.number for draw in draws(3, seed=0, count=8)] == list(range(8))
    assert draws(50, seed=4, count=60) == draws(50, seed=4, count=60)
    assert draws(50, seed=4, count=50) != draws(50, seed=5, count=50)
