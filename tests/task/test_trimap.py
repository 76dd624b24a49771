"""Bands along boundaries, compared with a loop over all pairs of pixels."""

import numpy as np
import pytest
import torch

from fcnexp import VOID
from fcnexp.task.trimap import TrimapScores, boundary_distance


def random_label(seed: int, side: int = 12) -> np.ndarray:
    """Blocks of three classes, and a block of void."""
    rng = np.random.default_rng(seed)
    label = np.kron(rng.integers(0, 3, (4, 4)), np.ones((3, 3), int))[:side, : side - 1]
    label[rng.integers(0, 8) :][:2, 3:6] = VOID
    return label.astype(np.uint8)


def distance_by_loops(label: np.ndarray) -> np.ndarray:
    places = list(np.ndindex(label.shape))
    distance = np.full(label.shape, np.inf)
    for a in places:
        for b in places:
            if label[a] != label[b]:
                distance[a] = min(distance[a], np.hypot(a[0] - b[0], a[1] - b[1]))
    return distance


def counted(label: np.ndarray, prediction: np.ndarray, *widths: int) -> torch.Tensor:
    metric = TrimapScores(3, widths)
    metric.update(torch.tensor(prediction)[None], torch.tensor(label)[None])
    return metric.compute()


@pytest.mark.parametrize("seed", range(5))
def test_distance_equals_the_slow_way(seed):
    label = random_label(seed)
    np.testing.assert_allclose(boundary_distance(label), distance_by_loops(label))


@pytest.mark.parametrize("seed", range(5))
def test_matrices_equal_the_slow_way(seed):
    label, prediction = random_label(seed), random_label(seed + 50) % 3
    distance, widths = distance_by_loops(label), (1, 2, 3)
    matrices = counted(label, prediction, *widths)
    for width, matrix in zip(widths, matrices, strict=True):
        for t in range(3):
            for p in range(3):
                cell = (label == t) & (prediction == p) & (distance <= width)
                assert matrix[t, p] == cell.sum()


def test_band_of_width_one_touches_the_boundary():
    label = np.zeros((4, 10), np.uint8)
    label[:, 5:] = 1
    assert counted(label, label, 1).sum() == 2 * 4
    label[:, 5] = VOID  # a rim: the band starts on both sides of it, and void is not counted
    label[:, 6] = VOID
    assert counted(label, label, 1).tolist() == [[[4, 0, 0], [0, 4, 0], [0, 0, 0]]]


def test_wider_bands_include_the_narrower_and_the_widest_all_labelled_pixels():
    label, prediction = random_label(7), random_label(8) % 3
    counts = counted(label, prediction, 1, 2, 4, 40).sum((1, 2)).tolist()
    assert counts == sorted(counts) and counts[0] < counts[-1] == (label != VOID).sum()


def test_image_without_boundary_adds_nothing():
    label = np.full((5, 6), 2, np.uint8)
    assert counted(label, label, 1, 100).sum() == 0
    assert counted(np.full((5, 6), VOID, np.uint8), label, 1, 100).sum() == 0


def test_images_are_summed():
    label, prediction = random_label(1), random_label(2) % 3
    metric = TrimapScores(3, (1, 5))
    for _ in range(2):
        metric.update(torch.tensor(prediction)[None], torch.tensor(label)[None])
    assert metric.compute().dtype == torch.int64
    assert torch.equal(metric.compute(), 2 * counted(label, prediction, 1, 5))
