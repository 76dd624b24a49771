"""Paired differences, Holm's correction, and refusals of runs on different images."""

import math

import numpy as np
import pytest
from scipy import stats
from scored_images import NAMES, per_image_of, random_maps, random_record

from fcnexp.scoring.paired import difference, holm, in_order, tail, why_not_paired
from fcnexp.scoring.resampling import resampled, with_seeds


def rows(*margins):
    """Draws of mean IU (1, B) of each row, and the values."""
    draws = resampled(margins).scores["miou"]
    values = [[float(resampled([m], draws=1).scores["miou"][0, 0])] for m in margins]
    return draws[:1], draws[1:], values


def test_difference_is_the_draws_difference_and_its_quantiles():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.5, 0.02, (1, 2000)), rng.normal(0.53, 0.02, (1, 2000))
    found = difference(first, second, ([0.5], [0.53]))
    low, high = np.quantile(second - first, [0.025, 0.975])
    assert found.value == pytest.approx(0.03) and found.interval == pytest.approx((low, high))
    assert found.other_sign == ((second - first) <= 0).mean() and not found.seeds


def test_images_that_are_hard_for_both_cancel():
    """The second net finds 1 % more in every image: certain, although both intervals are wide."""
    hits = np.random.default_rng(1).uniform(0.1, 0.9, 50)
    margins = [np.stack([h, np.ones(50), h], 1)[..., None] for h in (hits, hits + 0.01)]
    draws = resampled(margins).scores["pixel_acc"]
    found = difference(draws[:1], draws[1:], ([hits.mean()], [hits.mean() + 0.01]))
    assert found.interval == pytest.approx((0.01, 0.01)) and found.other_sign == 0
    assert np.ptp(np.quantile(draws[0], [0.025, 0.975])) > 0.1


def test_row_compared_with_itself_differs_by_nothing():
    draws = resampled([random_record(2).margins()]).scores["miou"]
    found = difference(draws, draws, ([0.4], [0.4]))
    assert (found.value, found.interval, found.other_sign, found.p) == (0, (0, 0), 1, 1)


def test_swapped_rows_give_the_opposite_difference():
    rng = np.random.default_rng(3)
    first, second = rng.normal(0.5, 0.1, (2, 1, 2000))
    ahead = difference(first, second, ([0.5], [0.6]))
    back = difference(second, first, ([0.6], [0.5]))
    assert back.interval == pytest.approx((-ahead.interval.high, -ahead.interval.low))
    assert back.p == pytest.approx(ahead.p) and back.value == -ahead.value


def test_several_seeds_widen_the_interval_and_are_drawn_in_both_rows():
    rng = np.random.default_rng(4)
    first, second = (mean + rng.normal(0, 0.01, (3, 2000)) for mean in (0.5, 0.6))
    offsets = np.array([[-0.05], [0], [0.05]])
    values = [[0.45, 0.5, 0.55], [0.55, 0.6, 0.65]]
    found = difference(first + offsets, second + offsets, values, seed=7)
    drawn = with_seeds(second + offsets, 4, 8) - with_seeds(first + offsets, 4, 7)
    assert found.seeds and found.interval == pytest.approx(
        tuple(np.quantile(drawn, [0.025, 0.975]))
    )
    t = stats.ttest_ind(values[1], values[0])  # the seeds are nearly all of the spread
    assert found.p == pytest.approx(t.pvalue, abs=0.05) and found.p > 0.05
    alone = difference(first[:1], second[:1], ([0.5], [0.6]))
    assert np.ptp(found.interval) > 2 * np.ptp(alone.interval) and not alone.seeds


def test_tail_is_student_t_and_the_normal_distribution():
    assert tail(0.03, 0.02**2, math.inf) == pytest.approx(2 * stats.norm.sf(1.5))
    assert tail(-0.03, 0.02**2, 4) == pytest.approx(2 * stats.t.sf(1.5, 4))
    assert (tail(0, 0, math.inf), tail(0.1, 0, math.inf)) == (1, 0)


def test_holm_is_the_example_of_a_textbook():
    found = holm([0.01, 0.04, 0.03, 0.005])
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.2]) == [0.2] and holm([0.6, 0.7]) == [1, 1]


def holm_by_the_definition(values):
    """Reject in order of p while p <= alpha / (tests left); the smallest alpha that rejects."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    adjusted = [0.0] * len(values)
    for rank, index in enumerate(order):
        needed = [(len(values) - r) * values[order[r]] for r in range(rank + 1)]
        adjusted[index] = min(1.0, max(needed))
    return adjusted


def test_holm_equals_a_loop_over_the_definition():
    rng = np.random.default_rng(5)
    for count in range(1, 40):
        values = (rng.random(count) ** 3).round(2).tolist()
        assert holm(values) == pytest.approx(holm_by_the_definition(values), rel=0, abs=1e-12)


def test_runs_on_other_images_are_refused_by_name():
    maps = random_maps(6, 4)
    first = per_image_of(*maps, names=["a", "b", "c", "d"])
    second = per_image_of(*maps, names=["a", "b", "x", "y"])
    only = "c only in the first, d only in the first, x only in the second"
    assert why_not_paired(first, second) == f"different images: {only} and 1 more"
    assert why_not_paired(first, first) == ""


def test_runs_with_other_labels_or_classes_are_refused_by_name():
    labels, predictions = random_maps(7, 3)
    first = per_image_of(labels, predictions)
    labels[1][0, 0] = (labels[1][0, 0] + 1) % 4
    assert why_not_paired(first, per_image_of(labels, predictions)) == (
        "different ground truth: val_1 and 0 more have the same name, but other labels"
    )
    other = per_image_of(labels, predictions, classes=(*NAMES[:3], "cow"))
    assert why_not_paired(first, other) == "different classes: bar, cow"


def test_order_of_the_images_does_not_matter():
    labels, predictions = random_maps(8, 5)
    names = [*"abcde"]
    first = per_image_of(labels, predictions, names=names)
    second = per_image_of(labels[::-1], predictions[::-1], names=names[::-1])
    assert why_not_paired(first, second) == ""
    assert np.array_equal(in_order(second, first.names), first.margins())
