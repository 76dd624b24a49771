"""Intervals by bootstrap: images are drawn with replacement, and the score is computed again.

Each draw has as many images as the set, some several times. Their counts are added up, and the
score is that of the sum, as of the whole set. Of 2000 draws, the middle 95 % is the interval.
Source: Efron, Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fcnexp.scoring.scores import class_iu, four_scores, mean_iu

DRAWS = 2000
SEED = 0
LEVEL = 0.95
NORMAL = 1.959963984540054  # normal quantile of LEVEL, two-sided
FEWEST = 10  # images; an interval from fewer would be too short
CELLS = 2**22  # of weights held at a time


class Interval(NamedTuple):
    """Both ends of an interval."""

    low: float
    high: float


class Draws(NamedTuple):
    """Scores of R runs on the same resampled images, B draws.

    scores: (R, B), by key. class_iou: (R, B, K); NaN for a class that a draw has not.
    """

    scores: dict[str, np.ndarray]
    class_iou: np.ndarray


class Spread(NamedTuple):
    """How far a mean over runs may be from what other images and other seeds would give.

    images: interval for these runs and other images. seeds: sample standard deviation over runs.
    both: interval for other images and other seeds. The last two are None for a single run.
    """

    images: Interval
    seeds: float | None
    both: Interval | None


def weights(images: int, draws: int = DRAWS, seed: int = SEED) -> Iterator[np.ndarray]:
    """Yield how often each draw has each image, float64 (B, N), a part of the draws at a time."""
    rng = np.random.default_rng(seed)
    step = max(1, CELLS // max(1, images))
    for start in range(0, draws, step):
        count = min(step, draws - start)
        yield rng.multinomial(images, np.full(images, 1 / images), size=count).astype(float)


def resampled(
    runs: Sequence[np.ndarray],
    without: int | Sequence[int] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Draws:
    """Scores of runs on resampled images, the same images in all runs.

    runs: margins (N, 3, K) of each. without: place of the class, or classes, to leave out of
    the mean IU. Raises ValueError if runs differ in their numbers of images or classes.
    """
    if len(shapes := {margins.shape for margins in runs}) > 1:
        raise ValueError(f"runs have margins of shapes {sorted(shapes)}; give the same images")
    images, _, classes = runs[0].shape
    found: list[list[Draws]] = []
    for drawn in weights(images, draws, seed):
        part = []
        for margins in runs:
            pooled = (drawn @ margins.reshape(images, -1)).reshape(-1, 3, classes)
            scores = four_scores(pooled) | {"miou": mean_iu(pooled, without)}
            part.append(Draws(scores, class_iu(pooled)))
        found.append(part)
    keys = found[0][0].scores
    return Draws(
        {
            key: np.array(
                [np.concatenate([p[r].scores[key] for p in found]) for r in range(len(runs))]
            )
            for key in keys
        },
        np.array([np.concatenate([p[r].class_iou for p in found]) for r in range(len(runs))]),
    )


def interval(draws: np.ndarray, images: int | None = None) -> Interval:
    """The middle `LEVEL` of the draws (B,) that are not NaN; NaN if there are none.

    images: number of images in a draw. The draws of few spread too little, so that a little more
    than `LEVEL` is taken, as Student's t says: 95.5 % for 100 images. Source: Hesterberg 2015,
    "What teachers should know about the bootstrap", expanded percentile interval.
    """
    counted = draws[~np.isnan(draws)]
    if not counted.size:
        return Interval(math.nan, math.nan)
    outside = (1 - LEVEL) / 2 if images is None else _outside(images)
    low, high = np.quantile(counted, [outside, 1 - outside]).tolist()
    return Interval(low, high)


def _outside(images: int) -> float:
    from scipy.special import ndtr, stdtrit

    quantile = float(stdtrit(images - 1, (1 + LEVEL) / 2))
    return float(ndtr(-math.sqrt(images / (images - 1)) * quantile))


def spread(
    draws: np.ndarray, values: Sequence[float], seed: int = SEED, images: int | None = None
) -> Spread:
    """Spread of a mean over runs.

    draws: (R, B) of each run. values: of the runs on all images. images: their number.
    """
    alone = interval(draws.mean(0), images)
    if len(values) < 2:
        return Spread(alone, None, None)
    both = interval(with_seeds(draws, len(values) - 1, seed), images)
    return Spread(alone, float(np.std(values, ddof=1)), both)


def with_seeds(draws: np.ndarray, freedom: float, seed: int = SEED) -> np.ndarray:
    """Mean over resampled runs, for each draw of the images, (B,).

    draws: (R, B), two or more runs. Plain resampling of few runs is far too sure: the interval of
    three covers 77 %. The distance to the mean of all runs is therefore multiplied by
    sqrt(R / (R - 1)), which makes its variance unbiased, and by the quotient of the quantiles of
    Student's t, with these degrees of freedom, and of the normal distribution.
    """
    number, count = draws.shape
    chosen = np.random.default_rng([seed, 1]).integers(number, size=(number, count))
    mean = draws.mean(0)
    moved = np.take_along_axis(draws, chosen, axis=0).mean(0) - mean
    return mean + stretch(number, freedom) * moved


def stretch(number: int, freedom: float) -> float:
    """Factor by which deviations of resampled means of so few runs are too small."""
    from scipy.special import stdtrit

    quantile = float(stdtrit(freedom, (1 + LEVEL) / 2))
    return math.sqrt(number / (number - 1)) * quantile / NORMAL
