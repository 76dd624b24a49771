"""Means over images equal other tools', and slow loops in exact arithmetic."""

import math

import numpy as np
import pytest
import slow_bootstrap
import torch
from scored_images import NAMES, per_image_of, random_maps
from torchmetrics.segmentation import MeanIoU

from fcnexp.scoring.by_image import BY_IMAGE, image_iu, iu_of_image


def sets(seed: int, void=0.1):
    """Images of different classes: many have only some of them."""
    rng = np.random.default_rng([seed, 5])
    labels, predictions = random_maps(seed, 9, right=rng.random(), void=void)
    for label, prediction in zip(labels, predictions, strict=True):
        few = np.uint8(rng.integers(1, len(NAMES) + 1))
        label[label < 255] %= few
        prediction %= np.uint8(rng.integers(1, len(NAMES) + 1))
    if void:
        labels[3][:] = 255
    return labels, predictions


@pytest.mark.parametrize("name", BY_IMAGE)
def test_rules_equal_loops_in_fractions(name):
    for seed in range(30):
        labels, predictions = sets(seed)
        maps = zip(labels, predictions, strict=True)
        matrices = [slow_bootstrap.matrix_of(*each, len(NAMES)) for each in maps]
        slow = getattr(slow_bootstrap, name)(matrices)
        fast = BY_IMAGE[name].miou(per_image_of(labels, predictions).margins())
        assert fast == pytest.approx(float(slow), rel=0, abs=1e-12)


def test_torchmetrics_prints_the_same(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # it computes in float32
    for seed in range(20):
        labels, predictions = sets(seed, void=0)  # it knows no void
        metric = MeanIoU(num_classes=len(NAMES), input_format="index")
        metric.score = metric.score.double()
        for label, prediction in zip(labels, predictions, strict=True):
            metric.update(*(torch.tensor(m[None].astype(int)) for m in (prediction, label)))
        ours = BY_IMAGE["torchmetrics_images"].miou(per_image_of(labels, predictions).margins())
        theirs = (metric.score.double() / metric.num_batches.double()).nanmean()
        assert ours == pytest.approx(float(theirs), rel=0, abs=1e-12)
        assert ours == pytest.approx(float(metric.compute()), abs=1e-6)


@pytest.mark.parametrize("name", ["micro", "macro"])
def test_segmentation_models_prints_the_same(name):
    smp = pytest.importorskip("segmentation_models_pytorch.metrics.functional")
    for seed in range(20):
        labels, predictions = sets(seed)
        maps = (torch.tensor(np.stack(m).astype(int)) for m in (predictions, labels))
        stats = smp.get_stats(*maps, mode="multiclass", ignore_index=255, num_classes=len(NAMES))
        stats = [each.double() for each in stats]
        theirs = float(smp.iou_score(*stats, reduction=f"{name}-imagewise"))
        ours = BY_IMAGE[f"smp_{name}_images"].miou(per_image_of(labels, predictions).margins())
        assert ours == pytest.approx(theirs, rel=0, abs=1e-12)


def test_image_of_void_alone_has_no_score():
    label = np.full((3, 3), 255, np.uint8)
    margins = per_image_of([label], [np.zeros_like(label)]).margins()
    assert math.isnan(image_iu(margins)[0]) and math.isnan(iu_of_image(np.zeros((2, 2), int)))
    assert math.isnan(BY_IMAGE["torchmetrics_images"].miou(margins))
    assert BY_IMAGE["smp_macro_images"].miou(margins) == 1


def test_score_of_an_image_is_its_mean_iu():
    matrix = np.array([[6, 2, 0], [0, 4, 0], [0, 0, 0]])
    assert iu_of_image(matrix) == pytest.approx((6 / 8 + 4 / 6) / 2)
