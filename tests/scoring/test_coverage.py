"""How often intervals cover the truth, and how often equal rows are called different.

Made-up nets whose true score is known: an image's counts are drawn from a distribution of images,
and the true score is that of so many images that its error does not matter.
"""

import numpy as np
import pytest

from fcnexp.scoring.paired import difference
from fcnexp.scoring.resampling import Draws, interval, resampled, spread
from fcnexp.scoring.scores import mean_iu

REPEATS, IMAGES, CLASSES = 1000, 100, 4
pytestmark = pytest.mark.slow


def images(rng: np.random.Generator, count: int, skill: float, hard=None) -> np.ndarray:
    """Margins (N, 3, K) of made-up images: classes in most, hard and easy images, confusions.

    hard: difficulty of each image, (N,), to score two nets on the same images.
    """
    hard = difficulty(rng, count) if hard is None else hard
    truth = rng.gamma(2.0, 200.0, (count, CLASSES)) * (rng.random((count, CLASSES)) < 0.7)
    truth[:, 0] += 500
    right = np.clip(skill - 0.3 * hard[:, None] + rng.normal(0, 0.1, truth.shape), 0, 1)
    hits = (truth * right).round()
    truth = truth.round()
    wrong = (truth - hits).sum(1)
    guess = hits + (wrong[:, None] / CLASSES).round()
    return np.stack([hits, truth, guess], 1)


def difficulty(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.beta(1.5, 3.0, count)


def true_score(skill: float, count: int = 400_000) -> float:
    rng = np.random.default_rng(99)
    parts = [images(rng, count // 10, skill).sum(0) for _ in range(10)]
    return float(mean_iu(np.sum(parts, 0)))


def scores(runs, seed: int) -> Draws:
    return resampled(runs, draws=2000, seed=seed)


def test_interval_covers_the_true_score():
    truth, covered = true_score(0.8), 0
    for repeat in range(REPEATS):
        rng = np.random.default_rng([1, repeat])
        low, high = interval(scores([images(rng, IMAGES, 0.8)], repeat).scores["miou"][0], IMAGES)
        covered += low <= truth <= high
    print(f"coverage: {covered} of {REPEATS} intervals from {IMAGES} images hold the true mean IU")
    assert 0.93 <= covered / REPEATS <= 0.97


def test_equal_rows_are_called_different_in_one_of_twenty():
    different, alarms = 0, 0
    for repeat in range(REPEATS):
        rng = np.random.default_rng([2, repeat])
        hard = difficulty(rng, IMAGES)
        runs = [images(rng, IMAGES, 0.8, hard) for _ in range(2)]
        draws = scores(runs, repeat).scores["miou"]
        values = [[float(mean_iu(run.sum(0)))] for run in runs]
        found = difference(draws[:1], draws[1:], values, images=IMAGES)
        low, high = found.interval
        different += not low <= 0 <= high
        alarms += found.p < 0.05
    print(f"equal rows: {different} of {REPEATS} intervals without 0, {alarms} with p < 0.05")
    assert 0.03 <= different / REPEATS <= 0.07 and 0.03 <= alarms / REPEATS <= 0.07


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_interval_of_several_seeds_covers_the_mean_of_all_seeds(seeds):
    """The nets of one setting differ in skill: the true score is the mean over all of them."""
    rng = np.random.default_rng(3)
    skills = np.clip(rng.normal(0.8, 0.03, 200), 0, 1)
    truth = float(np.mean([true_score(skill, 20_000) for skill in skills]))
    covered, plain = 0, 0
    for repeat in range(REPEATS):
        rng = np.random.default_rng([4, repeat])
        hard = difficulty(rng, IMAGES)
        runs = [images(rng, IMAGES, rng.choice(skills), hard) for _ in range(seeds)]
        found = spread(
            resampled(runs, draws=1000, seed=repeat).scores["miou"],
            [float(mean_iu(run.sum(0))) for run in runs],
            repeat,
            IMAGES,
        )
        covered += found.both.low <= truth <= found.both.high
        plain += found.images.low <= truth <= found.images.high
    print(f"{seeds} seeds: {covered} of {REPEATS} cover the mean over seeds; images alone: {plain}")
    assert covered / REPEATS >= 0.92 and plain < covered
    assert seeds == 2 or covered / REPEATS <= 0.99


def test_equal_settings_with_three_seeds_are_called_different_in_one_of_twenty():
    different, alarms, images_alone = 0, 0, 0
    for repeat in range(REPEATS):
        rng = np.random.default_rng([5, repeat])
        hard = difficulty(rng, IMAGES)
        skills = np.clip(rng.normal(0.8, 0.03, 6), 0, 1)
        runs = [images(rng, IMAGES, skill, hard) for skill in skills]
        draws = resampled(runs, draws=1000, seed=repeat).scores["miou"]
        values = [float(mean_iu(run.sum(0))) for run in runs]
        found = difference(draws[:3], draws[3:], (values[:3], values[3:]), repeat, IMAGES)
        different += not found.interval.low <= 0 <= found.interval.high
        alarms += found.p < 0.05
        low, high = interval(draws[3:].mean(0) - draws[:3].mean(0))
        images_alone += not low <= 0 <= high
    print(
        f"equal settings, 3 seeds: {different} of {REPEATS} without 0, {alarms} with p < 0.05; "
        f"images alone: {images_alone}"
    )
    assert 0.02 <= different / REPEATS <= 0.08 and 0.02 <= alarms / REPEATS <= 0.07
