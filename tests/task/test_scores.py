import math

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from fcnexp import VOID
from fcnexp.task.four_scores import mean_iu_of_present, scores_of
from fcnexp.task.scores import SegmentationScores


def random_maps(seed: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Prediction and label (2, 6, 7), 10 % void; some classes may be absent from either."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, rng.integers(1, classes + 1), (2, 6, 7))
    prediction = rng.integers(0, rng.integers(1, classes + 1), (2, 6, 7))
    label[rng.random(label.shape) < 0.1] = VOID
    return torch.tensor(prediction), torch.tensor(label, dtype=torch.uint8)


def scores_by_loops(prediction: torch.Tensor, label: torch.Tensor, classes: int) -> dict:
    """The release's four scores, with loops over pixels and classes."""
    pairs = [
        (t, p)
        for t, p in zip(label.flatten().tolist(), prediction.flatten().tolist(), strict=True)
        if t != VOID
    ]
    accuracies, ious, weighted = [], [], 0.0
    for k in range(classes):
        truth = sum(t == k for t, _ in pairs)
        hit = sum(t == k == p for t, p in pairs)
        union = truth + sum(p == k for _, p in pairs) - hit
        if truth:
            accuracies.append(hit / truth)
            weighted += truth * hit / union
        if union:
            ious.append(hit / union)
    return {
        "pixel_acc": sum(t == p for t, p in pairs) / len(pairs),
        "mean_acc": np.mean(accuracies),
        "miou": np.mean(ious),
        "fw_iou": weighted / len(pairs),
    }


@pytest.mark.parametrize("seed", range(20))
def test_scores_equal_the_slow_way(seed):
    prediction, label = random_maps(seed, classes=4)
    metric = SegmentationScores(4)
    metric.update(prediction[:1], label[:1])
    metric.update(prediction[1:], label[1:])
    assert metric.compute() == pytest.approx(scores_by_loops(prediction, label, 4))


def test_matrix_equals_torchmetrics():
    prediction, label = random_maps(3, classes=4)
    metric = SegmentationScores(4)
    metric.update(prediction, label)
    theirs = MulticlassConfusionMatrix(4, ignore_index=VOID)(prediction, label.long())
    assert torch.equal(metric.matrix, theirs) and metric.matrix.dtype == torch.int64


def test_mean_iu_equals_torchmetrics_jaccard_if_all_classes_occur():
    torch.manual_seed(1)
    prediction, label = torch.randint(3, (1, 20, 20)), torch.randint(3, (1, 20, 20))
    metric = SegmentationScores(3)
    metric.update(prediction, label)
    theirs = MulticlassJaccardIndex(3)(prediction, label)
    assert metric.compute()["miou"] == pytest.approx(theirs.item(), abs=1e-6)


def test_conventions_of_absent_classes():
    """Class 2 is predicted but not in the ground truth, class 3 is in neither."""
    matrix = torch.tensor([[6, 0, 2, 0], [0, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    scores = scores_of(matrix)
    assert scores["miou"] == pytest.approx((6 / 8 + 1 + 0) / 3)  # 2 counts as 0, 3 is dropped
    assert scores["mean_acc"] == pytest.approx((6 / 8 + 1) / 2)
    assert mean_iu_of_present(matrix) == pytest.approx((6 / 8 + 1) / 2)


def test_counts_beyond_two_to_the_31_stay_exact():
    matrix = torch.tensor([[2**40 + 1, 1], [0, 2**40]])
    metric = SegmentationScores(2)
    metric.matrix += matrix
    metric.update(torch.zeros(1, 1, 1, dtype=torch.long), torch.zeros(1, 1, 1, dtype=torch.uint8))
    assert metric.matrix.tolist() == [[2**40 + 2, 1], [0, 2**40]]


def test_nothing_counted_is_nan():
    assert all(math.isnan(value) for value in scores_of(torch.zeros(3, 3).long()).values())


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("classes", [2, 21, 127, 128, 129, 255])  # cells are int32 from 129 on
def test_every_class_and_type_has_its_cell(classes, kind):
    prediction = torch.arange(classes).repeat(classes + 1)
    label = torch.tensor([*range(classes), VOID]).repeat_interleave(classes)
    metric = SegmentationScores(classes)
    both = torch.stack([prediction, prediction])
    labels = label.to(torch.uint8 if kind == torch.uint8 else torch.int64)
    metric.update(both.to(kind if classes <= 127 else torch.int64), torch.stack([labels, labels]))
    assert torch.equal(metric.matrix, torch.full((classes, classes), 2))


def test_maps_of_any_memory_format_are_counted():
    prediction, label = random_maps(5, classes=4)
    contiguous, strided = SegmentationScores(4), SegmentationScores(4)
    contiguous.update(prediction, label)
    strided.update(prediction.mT.contiguous().mT.to(torch.uint8), label.mT.contiguous().mT)
    assert torch.equal(contiguous.matrix, strided.matrix)


@pytest.mark.parametrize(("value", "kind"), [(3, torch.uint8), (-1, torch.int64), (2**16, int)])
def test_prediction_outside_the_classes_is_refused(value, kind):
    prediction = torch.full((1, 1, 2), value, dtype=torch.int64 if kind is int else kind)
    for label in (0, 2, VOID):
        with pytest.raises(ValueError, match=rf"prediction {value} is outside 0\.\.2"):
            SegmentationScores(3).update(prediction, torch.full((1, 1, 2), label))


def test_label_outside_the_classes_is_refused():
    for value in (3, 77, 254, 256, -1):
        with pytest.raises(ValueError, match=r"label .*outside 0"):
            SegmentationScores(3).update(torch.zeros(1, 1, 1).long(), torch.full((1, 1, 1), value))
