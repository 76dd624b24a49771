"""Scores by other tools' conventions: against class-by-class loops, and torchmetrics itself."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from fcnexp import VOID
from fcnexp.task.conventions import CONVENTIONS, by_convention

# Class 1 is absent, 2 only predicted, 3 never predicted; 0 has 6 of 8 pixels right, IU 6 / 10.
MATRIX = torch.tensor([[6, 0, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0], [2, 0, 0, 0]])
RULES = {  # IU of an absent class and of an only predicted one; accuracy of the latter
    "release": ("drop", 0, "drop"),
    "mmseg": ("drop", 0, "drop"),
    "torchvision": (math.nan, 0, None),
    "detectron2": ("drop", "drop", "drop"),
    "paddleseg": (1, 0, None),
    "paddleseg_older": (0, 0, None),
    "torchmetrics": ("drop", 0, 0),
    "present_in_truth": ("drop", "drop", "drop"),
}


def random_matrix(seed: int) -> np.ndarray:
    """Matrix of up to 7 classes, with some missing in ground truth, in prediction, or in both."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 8))
    matrix = rng.integers(0, 40, (classes, classes))
    matrix[rng.random(classes) < 0.3] = 0
    matrix[:, rng.random(classes) < 0.3] = 0
    matrix[0, 0] += 1  # an empty matrix is 0 in torchmetrics, NaN in ours
    return matrix


def slowly(matrix: list[list[int]], absent, predicted_only, accuracy_rule) -> tuple:
    """Mean IU and mean accuracy by a rule, with a loop over classes."""
    ius, accuracies, classes = [], [], range(len(matrix))
    for k in classes:
        hit, truth = matrix[k][k], sum(matrix[k])
        union = truth + sum(matrix[t][k] for t in classes) - hit
        if truth:
            ius.append(hit / union)
            accuracies.append(hit / truth)
            continue
        ius.append(predicted_only if union else absent)
        accuracies.append(accuracy_rule if union else "drop")
    ius = [iu for iu in ius if iu != "drop"]
    accuracies = [a for a in accuracies if a != "drop"]
    mean_acc = None if accuracy_rule is None else sum(accuracies) / len(accuracies)
    return sum(ius) / len(ius), mean_acc


def test_every_convention_by_hand():
    scores = by_convention(MATRIX)
    assert {name: s["miou"] for name, s in scores.items()} == pytest.approx(
        {
            "release": 0.6 / 3,
            "mmseg": 0.6 / 3,
            "torchvision": math.nan,
            "detectron2": 0.6 / 2,
            "paddleseg": 1.6 / 4,
            "paddleseg_older": 0.6 / 4,
            "torchmetrics": 0.6 / 3,
            "present_in_truth": 0.6 / 2,
        },
        nan_ok=True,
    )
    assert scores["release"]["mean_acc"] == pytest.approx(0.75 / 2)
    assert scores["torchmetrics"]["mean_acc"] == pytest.approx(0.75 / 3)
    assert {s["pixel_acc"] for s in scores.values()} == {0.6}


@pytest.mark.parametrize("name", RULES)
def test_rule_equals_the_slow_way(name):
    for seed in range(100):
        matrix = random_matrix(seed)
        scores = by_convention(torch.from_numpy(matrix))[name]
        miou, mean_acc = slowly(matrix.tolist(), *RULES[name])
        assert scores["miou"] == pytest.approx(miou, nan_ok=True)
        assert scores["mean_acc"] == (mean_acc and pytest.approx(mean_acc))


def test_convention_torchmetrics_equals_torchmetrics():
    for seed in range(200):
        matrix = random_matrix(seed)
        classes = len(matrix)
        truth, guess = (np.repeat(i.ravel(), matrix.ravel()) for i in np.indices(matrix.shape))
        truth, guess = torch.tensor([*truth, VOID]), torch.tensor([*guess, 0])
        ours = by_convention(torch.from_numpy(matrix))["torchmetrics"]
        for key, metric in (
            ("miou", MulticlassJaccardIndex(classes, ignore_index=VOID)),
            ("mean_acc", MulticlassAccuracy(classes, ignore_index=VOID)),
            ("pixel_acc", MulticlassAccuracy(classes, average="micro", ignore_index=VOID)),
        ):
            assert ours[key] == pytest.approx(float(metric(guess, truth)), abs=1e-6), (seed, key)


def test_all_conventions_agree_if_every_class_is_in_the_ground_truth():
    scores = by_convention(torch.tensor([[5, 1], [2, 7]]))
    assert len({s["miou"] for s in scores.values()}) == 1
    assert {s["mean_acc"] for s in scores.values()} == {None, scores["release"]["mean_acc"]}


def test_each_rule_names_its_source():
    assert set(CONVENTIONS) == set(RULES)
    assert all(rule.source for rule in CONVENTIONS.values())
    shown = {name: tuple(rule.words().values()) for name, rule in CONVENTIONS.items()}
    assert shown["torchvision"] == ("NaN", "0") and shown["paddleseg"] == ("1", "0")
    assert shown["torchmetrics"] == ("dropped", "0 in both")
