"""Scores as each tool defines them, with loops over pixels and classes, in exact arithmetic.

Counts are integers and scores fractions, without tensors or floats; None if a tool gives NaN.
"""

from collections import Counter
from fractions import Fraction

VOID = 255
Maps = list[list[list[int]]]  # images of rows of class indices


def pairs_of(labels: Maps, predictions: Maps) -> Counter[tuple[int, int]]:
    """Count the pairs (ground truth, prediction) over all pixels except void."""
    counts: Counter[tuple[int, int]] = Counter()
    for label, prediction in zip(labels, predictions, strict=True):
        for truths, guesses in zip(label, prediction, strict=True):
            for truth, guess in zip(truths, guesses, strict=True):
                if truth != VOID:
                    counts[truth, guess] += 1
    return counts


def near_pairs(label: list[list[int]], prediction: list[list[int]], widths) -> list[Counter]:
    """`pairs_of` the pixels of one image that have a different label within each width."""
    places = [(y, x) for y, row in enumerate(label) for x in range(len(row))]
    found: list[Counter[tuple[int, int]]] = [Counter() for _ in widths]
    for y, x in places:
        truth = label[y][x]
        squares = [(y - v) ** 2 + (x - u) ** 2 for v, u in places if label[v][u] != truth]
        if truth == VOID or not squares:
            continue
        for width, counts in zip(widths, found, strict=True):
            counts[truth, prediction[y][x]] += min(squares) <= width**2
    return found


class Tool:
    """Scores of a confusion matrix, rows ground truth, by each tool; None for NaN."""

    def __init__(self, matrix: list[list[int]]) -> None:
        self.classes = range(len(matrix))
        self.hits = [matrix[k][k] for k in self.classes]
        self.truth = [sum(matrix[k]) for k in self.classes]
        self.guess = [sum(row[k] for row in matrix) for k in self.classes]
        self.union = [self.truth[k] + self.guess[k] - self.hits[k] for k in self.classes]

    def pixel_acc(self) -> Fraction | None:
        return fraction(sum(self.hits), sum(self.truth))

    def accuracies(self) -> list[Fraction | None]:
        return [fraction(self.hits[k], self.truth[k]) for k in self.classes]

    def ius(self) -> list[Fraction | None]:
        return [fraction(self.hits[k], self.union[k]) for k in self.classes]

    def fw_iou(self) -> Fraction | None:
        """score.py: `(freq[freq > 0] * iu[freq > 0]).sum()`, frequencies of the ground truth."""
        total, ius = sum(self.truth), self.ius()
        if not total:
            return None
        return sum((Fraction(self.truth[k], total) * ius[k] for k in self.seen()), Fraction(0))

    def seen(self) -> list[int]:
        return [k for k in self.classes if self.truth[k]]

    # Each tool's (mean IU, mean accuracy); "" for a score that it does not report.
    def release(self):
        """score.py: `np.nanmean` of `diag / (sum1 + sum0 - diag)`, and of `diag / sum1`."""
        return nanmean(self.ius()), nanmean(self.accuracies())

    def mmseg(self):
        """`total_area_to_metrics`, IoU and Acc per class, then `np.nanmean` of each."""
        return nanmean(self.ius()), nanmean(self.accuracies())

    def torchvision(self):
        """`iu.mean()`: an absent class makes it NaN. It has no mean accuracy."""
        return mean(self.ius()), ""

    def detectron2(self):
        """Mean IU and accuracy over the classes with `pos_gt > 0`."""
        ius, accuracies = self.ius(), self.accuracies()
        return mean([ius[k] for k in self.seen()]), mean([accuracies[k] for k in self.seen()])

    def paddleseg(self):
        """Recent versions: a class whose union is 0 has IoU 1, and all are averaged."""
        return mean([Fraction(1) if iu is None else iu for iu in self.ius()]), ""

    def paddleseg_older(self):
        """`if union[i] == 0: iou = 0`, and `np.mean` of all."""
        return mean([Fraction(0) if iu is None else iu for iu in self.ius()]), ""

    def torchmetrics(self):
        """Both with `0 / 0 = 0`, and a weight of 0 if tp + fp + fn is 0."""
        weighed = [k for k in self.classes if self.union[k]]
        ius, accuracies = self.ius(), self.accuracies()
        return mean([ius[k] for k in weighed]), mean(
            [accuracies[k] or Fraction(0) for k in weighed]
        )

    def present_in_truth(self):
        """Means over the classes in the test set's ground truth."""
        return self.detectron2()


def fraction(part: int, total: int) -> Fraction | None:
    return Fraction(part, total) if total else None


def mean(values: list[Fraction | None]) -> Fraction | None:
    if not values or None in values:
        return None
    return sum(values, Fraction(0)) / len(values)


def nanmean(values: list[Fraction | None]) -> Fraction | None:
    return mean([value for value in values if value is not None])
