"""Intervals: against slow loops and closed forms, and how often they cover the truth."""

import numpy as np
import pytest
import torch
from scipy import stats
from scored_images import random_record
from slow_bootstrap import mean_iu_of_draw

from fcnexp.scoring.resampling import (
    Interval,
    interval,
    resampled,
    spread,
    stretch,
    weights,
    with_seeds,
)
from fcnexp.scoring.scores import class_iu, four_scores, mean_iu
from fcnexp.task import four_scores as in_torch


def dense(record) -> np.ndarray:
    """Confusion matrix of each image (N, K, K)."""
    size = len(record.classes)
    offsets, pairs, counts = record.tables["whole"]
    found = np.zeros((len(record.names), size * size), int)
    for i in range(len(found)):
        lines = slice(offsets[i], offsets[i + 1])
        found[i, pairs[lines]] = counts[lines]
    return found.reshape(-1, size, size)


def test_scores_equal_those_of_training():
    rng = np.random.default_rng(0)
    for _ in range(50):
        matrix = rng.integers(0, 50, (5, 5)) * (rng.random((5, 5)) < 0.4)
        matrix[rng.integers(5)] = 0  # a class without ground truth
        margins = np.stack([matrix.diagonal(), matrix.sum(1), matrix.sum(0)])
        theirs = in_torch.scores_of(torch.tensor(matrix))
        ours = {key: float(value) for key, value in four_scores(margins).items()}
        assert ours == pytest.approx(theirs, rel=0, abs=1e-12, nan_ok=True)
        expected = in_torch.class_iu(torch.tensor(matrix)).numpy()
        np.testing.assert_allclose(class_iu(margins), expected, rtol=0, atol=1e-12)
        without = np.nanmean(np.delete(expected, 2)) if np.isfinite(expected).any() else np.nan
        np.testing.assert_allclose(mean_iu(margins, without=2), without, rtol=0, atol=1e-12)


def test_nothing_counted_is_nan_without_a_warning():
    assert np.isnan(mean_iu(np.zeros((3, 4)))) and np.isnan(class_iu(np.zeros((3, 4)))).all()


def test_every_draw_equals_a_loop_that_lists_its_images():
    record = random_record(1, images=6)
    matrices = dense(record).tolist()
    draws = resampled([record.margins()], draws=60).scores["miou"][0]
    (drawn,) = weights(6, draws=60)
    for counts, score in zip(drawn.astype(int), draws, strict=True):
        listed = [image for image, count in enumerate(counts) for _ in range(count)]
        assert len(listed) == 6
        assert score == pytest.approx(float(mean_iu_of_draw(matrices, listed)), rel=0, abs=1e-12)


def test_draws_do_not_depend_on_how_many_are_held_at_a_time(monkeypatch):
    record = random_record(2, images=9)
    whole = resampled([record.margins()], draws=50)
    monkeypatch.setattr("fcnexp.scoring.resampling.CELLS", 9 * 7)
    parts = resampled([record.margins()], draws=50)
    assert all(np.array_equal(whole.scores[key], parts.scores[key]) for key in whole.scores)


def test_same_seed_gives_the_same_interval_and_another_one_nearly():
    margins = random_record(3, images=60).margins()
    first, again, other = (
        interval(resampled([margins], seed=seed).scores["miou"][0]) for seed in (0, 0, 1)
    )
    assert first == again != other
    assert first == pytest.approx(other, abs=0.01)


def test_interval_of_a_mean_is_the_textbook_one():
    """Images of equal size with one class: pixel accuracy is a mean, whose error is known."""
    rng = np.random.default_rng(4)
    hits = rng.integers(0, 101, 400)
    margins = np.stack([hits, np.full(400, 100), hits], 1)[..., None].astype(float)
    draws = resampled([margins]).scores["pixel_acc"][0]
    error = hits.std() / 100 / len(hits) ** 0.5
    assert draws.mean() == pytest.approx(hits.mean() / 100, abs=3 * error / 2000**0.5)
    assert draws.std() == pytest.approx(error, rel=0.05)
    low, high = interval(draws)
    assert (high - low) / (2 * 1.96 * error) == pytest.approx(1, rel=0.06)


def test_scipy_gives_the_same_interval():
    hits = np.random.default_rng(5).beta(2, 1, 150)
    margins = np.stack([hits, np.ones(150), hits], 1)[..., None]
    ours = interval(resampled([margins], draws=20_000).scores["pixel_acc"][0])
    theirs = stats.bootstrap((hits,), np.mean, n_resamples=20_000, method="percentile", rng=1)
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.002)


def test_interval_skips_draws_without_the_class():
    assert interval(np.array([np.nan, 1.0, 3.0, np.nan])) == pytest.approx((1.05, 2.95))
    assert np.isnan(interval(np.full(3, np.nan))).all()


def test_interval_of_few_images_takes_more_of_the_draws():
    draws = np.random.default_rng(9).normal(size=200_000)
    for images in (10, 100, 1449):  # of a mean of normal values: Student's interval
        factor = (images / (images - 1)) ** 0.5 * stats.t.ppf(0.975, images - 1)
        assert interval(draws, images) == pytest.approx((-factor, factor), abs=0.05)


def test_identical_runs_have_no_seed_spread():
    draws = resampled([random_record(6).margins()] * 3).scores["miou"]
    found = spread(draws, [0.5] * 3)
    assert found.seeds == 0 and found.both == pytest.approx(found.images)


def test_identical_images_have_no_image_spread():
    margins = np.repeat(random_record(7, images=1).margins(), 20, axis=0)
    other = margins * [[[0.5], [1], [0.5]]]
    draws = resampled([margins, other]).scores["miou"]
    found = spread(draws, draws[:, 0].tolist())
    middle = draws[:, 0].mean()
    assert found.images == pytest.approx((middle, middle))
    half = abs(draws[0, 0] - draws[1, 0]) / 2
    assert found.both == pytest.approx(
        (middle - half * stretch(2, 1), middle + half * stretch(2, 1))
    )


def test_single_run_has_only_an_image_interval():
    found = spread(np.array([[0.1, 0.2, 0.3]]), [0.2])
    assert found.seeds is None and found.both is None and isinstance(found.images, Interval)


def test_resampled_seeds_equal_a_loop():
    draws = np.random.default_rng(8).random((3, 40))
    chosen = np.random.default_rng([5, 1]).integers(3, size=(3, 40))
    fast, factor = with_seeds(draws, 2, seed=5), (3 / 2) ** 0.5 * stats.t.ppf(0.975, 2) / 1.959964
    for i in range(40):
        mean = sum(draws[r, i] for r in range(3)) / 3
        other = sum(draws[chosen[j, i], i] for j in range(3)) / 3
        assert fast[i] == pytest.approx(mean + factor * (other - mean), rel=1e-6)
