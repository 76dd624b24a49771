"""Random maps and huge counts give the same counts and scores as a loop over pixels."""

import csv
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from slow_scores import VOID, Tool, near_pairs, pairs_of

from fcnexp.reporting.records import read_confusion
from fcnexp.reporting.result import write_result
from fcnexp.task.conventions import CONVENTIONS, by_convention
from fcnexp.task.four_scores import scores_of
from fcnexp.task.scores import SegmentationScores
from fcnexp.task.trimap import TrimapScores

CASES, BANDED = 500, 100
WIDTHS = (1, 2, 3, 5)
ROUNDING = 1e-12
KINDS = (torch.uint8, torch.int32, torch.int64)


def some_classes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw a subset of the classes, so that label and prediction lack different ones."""
    return rng.permutation(count)[: rng.integers(1, count + 1)]


def maps(seed: int) -> tuple[int, list[np.ndarray], list[np.ndarray]]:
    """Draw a number of classes, and labels and predictions. Every 25th case is all void."""
    rng = np.random.default_rng([9, seed])
    classes = int(rng.integers(1, 61))
    void = (0, 0.1, 0.5, 0.95)[seed % 4] if seed % 25 else 1.0
    known, guessed = some_classes(rng, classes), some_classes(rng, classes)
    labels, predictions = [], []
    for _ in range(rng.integers(1, 5)):
        size = (1, 1) if seed % 10 == 3 else tuple(rng.integers(1, 18, 2))
        label, prediction = rng.choice(known, size), rng.choice(guessed, size)
        right = (rng.random(size) < 0.4) & (seed % 3 > 0)
        prediction[right] = label[right]
        label[rng.random(size) < void] = VOID
        labels.append(label.astype(np.uint8))
        predictions.append(prediction)
    return classes, labels, predictions


def counted(metric, labels, predictions, seed: int):
    """Count the images one by one, or in one batch padded with void."""
    kind = KINDS[seed % 3]
    if seed % 2:
        for label, prediction in zip(labels, predictions, strict=True):
            metric.update(
                torch.from_numpy(prediction)[None].to(kind), torch.from_numpy(label)[None]
            )
        return metric
    size = np.max([label.shape for label in labels], 0)
    label = np.full((len(labels), *size), VOID, np.uint8)
    prediction = np.zeros(label.shape, int)
    for i, (truth, guess) in enumerate(zip(labels, predictions, strict=True)):
        here = (i, *map(slice, truth.shape))
        label[here], prediction[here] = truth, guess
    metric.update(torch.from_numpy(prediction).to(kind), torch.from_numpy(label))
    return metric


def lists(images: list[np.ndarray]) -> list[list[list[int]]]:
    return [image.tolist() for image in images]


def square(counts: Counter, classes: int) -> list[list[int]]:
    return [[counts[t, p] for p in range(classes)] for t in range(classes)]


def same(found: float | None, exact: Fraction | None | str) -> bool:
    """True if equal to float64's rounding; "" is a score that the tool does not compute."""
    if exact == "" or found is None:
        return exact == "" and found is None
    if exact is None or math.isnan(found):
        return exact is None and math.isnan(found)
    return abs(Fraction(found) - exact) <= ROUNDING * max(exact, 1)


def check_scores(matrix: list[list[int]]) -> int:
    """Compare all scores of all conventions with the slow method's; return their number."""
    tool, tensor = Tool(matrix), torch.tensor(matrix)
    scores = scores_of(tensor)
    slow = dict(zip(("miou", "mean_acc"), tool.release(), strict=True))
    slow |= {"pixel_acc": tool.pixel_acc(), "fw_iou": tool.fw_iou()}
    pairs = [(name, scores[name], slow[name]) for name in scores]
    for name, given in by_convention(tensor).items():
        miou, mean_acc = getattr(tool, name)()
        pairs += [(f"{name} miou", given["miou"], miou)]
        pairs += [(f"{name} mean_acc", given["mean_acc"], mean_acc)]
        pairs += [(f"{name} pixel_acc", given["pixel_acc"], tool.pixel_acc())]
    wrong = [pair for pair in pairs if not same(*pair[1:])]
    assert not wrong, wrong
    return len(pairs)


def test_random_maps_match_a_loop_over_pixels(tell):
    pixels = scores = 0
    kinds = Counter()
    for seed in range(CASES):
        classes, labels, predictions = maps(seed)
        slow = pairs_of(lists(labels), lists(predictions))
        metric = counted(SegmentationScores(classes), labels, predictions, seed)
        matrix = square(slow, classes)
        assert metric.matrix.tolist() == matrix, seed
        scores += check_scores(matrix)
        pixels += sum(label.size for label in labels)
        truth = {t for t, _ in slow}
        guessed = {p for _, p in slow}
        kinds["all void"] += not slow
        kinds["one pixel"] += sum(label.size for label in labels) == len(labels)
        kinds["absent in truth only"] += bool(guessed - truth)
        kinds["absent in prediction only"] += bool(truth - guessed)
        kinds["absent in both"] += len(truth | guessed) < classes
    assert min(kinds.values()) >= 20, kinds
    counts = ", ".join(f"{name} {count}" for name, count in kinds.items())
    tell(
        f"metrics: {CASES} of {CASES} random cases ({pixels:,} pixels) equal to a loop, "
        f"{scores:,} scores of {1 + len(CONVENTIONS)} kinds within {ROUNDING:g}; {counts}"
    )


def test_bands_match_a_loop_over_pairs_of_pixels(tell):
    near = 0
    for seed in range(BANDED):
        classes, labels, predictions = maps(seed)
        labels, predictions = ([image[:9, :8] for image in each] for each in (labels, predictions))
        slow = [Counter() for _ in WIDTHS]
        for label, prediction in zip(lists(labels), lists(predictions), strict=True):
            for total, counts in zip(slow, near_pairs(label, prediction, WIDTHS), strict=True):
                total.update(counts)
        metric = TrimapScores(classes, WIDTHS)
        found = counted(metric, labels, predictions, seed=1).compute()  # padding adds a boundary
        assert found.tolist() == [square(counts, classes) for counts in slow], seed
        near += sum(slow[0].values())
    tell(
        f"metrics: {BANDED} of {BANDED} cases of {len(WIDTHS)} bands equal to a loop ({near} near)"
    )


@pytest.mark.parametrize("start", [2**31 - 3, 2**32 - 3, 2**53 - 3, 2**62])
def test_counts_stay_exact_beyond_the_range_of_other_types(start):
    metric = SegmentationScores(2)
    metric.matrix += torch.tensor([[start, 0], [1, start]])
    for _ in range(7):  # across the border, one by one
        metric.update(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 0]]], dtype=torch.uint8))
    assert metric.matrix.tolist() == [[start + 7, 7], [1, start]]


def test_scores_of_huge_counts_are_exact_to_float64_rounding(tell):
    """Counts above 2^53 have no exact float64, so scores are rounded, by about 1e-16."""
    rng, scores, over_31, over_53 = np.random.default_rng(9), 0, 0, 0
    for seed in range(60):
        classes = int(rng.integers(1, 12))
        matrix = rng.integers(0, 2 ** (34 + seed // 2), (classes, classes)) // classes**2
        matrix[rng.random(classes) < 0.2] = 0
        matrix[:, rng.random(classes) < 0.2] = 0
        matrix = matrix.tolist()
        scores += check_scores(matrix)
        over_31 += max(map(max, matrix)) > 2**31
        over_53 += max(map(max, matrix)) > 2**53
    assert over_31 > 40 and over_53 > 5
    tell(f"metrics: counts beyond 2^31 in {over_31} matrices, 2^53 in {over_53}: {scores} scores")


def test_record_keeps_every_digit(tmp_path):
    matrix = [[2**53 + 1, 2**31 + 1], [3, 2**60 + 7]]
    record = write_result(tmp_path, torch.tensor(matrix), ("a", "b"), {})
    stored = read_confusion([tmp_path])
    assert stored is not None and stored.counts == matrix
    assert record["pixels"] == sum(map(sum, matrix))
    with (tmp_path / "confusion.csv").open() as file:
        assert [line[1:] for line in csv.reader(file)][1:] == [list(map(str, r)) for r in matrix]
    twice = read_confusion([tmp_path, tmp_path])
    assert twice is not None and twice.counts == [[2 * count for count in row] for row in matrix]
