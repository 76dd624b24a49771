"""Is a difference real? Two rows on the same images, compared by resampling.

Both rows are scored on the same drawn images, so that images which are hard for both cancel.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fcnexp.scoring.per_image import PerImage
from fcnexp.scoring.resampling import SEED, Interval, interval, with_seeds

ALPHA = 0.05

Values = Sequence[float] | np.ndarray


class Difference(NamedTuple):
    """Second row minus first.

    interval: covers the difference in 95 of 100 repeats with other images, and with other seeds if
    `seeds`. other_sign: share of the draws with the other sign, or 0. p: probability of a
    difference at least this large if there is none; see `difference`.
    """

    value: float
    interval: Interval
    other_sign: float
    p: float
    seeds: bool


def difference(
    first: np.ndarray,
    second: np.ndarray,
    values: tuple[Values, Values],
    seed: int = SEED,
    images: int | None = None,
) -> Difference:
    """Compare two rows. first, second: draws (R, B) of their runs. values: scores on all images.

    images: their number; see `interval`.

    If both rows have several runs, other seeds are drawn as well. p is twice the share of draws
    with the other sign or, if larger, the tail of Student's t with the draws' spread: 2000 draws
    cannot show a p below 0.001.
    """
    before, after = (np.asarray(each, float) for each in values)
    value = float(after.mean() - before.mean())
    draws = second.mean(0) - first.mean(0)
    counted = draws[~np.isnan(draws)]
    variance, freedom = float(counted.var()) if counted.size else math.nan, math.inf
    if images is not None:
        variance, freedom = variance * images / (images - 1), images - 1
    seeds = min(len(before), len(after)) > 1
    if seeds:
        shared = len(before) + len(after) - 2
        draws = with_seeds(second, shared, seed + 1) - with_seeds(first, shared, seed)
        of_seeds = float(before.var(ddof=1) / len(before) + after.var(ddof=1) / len(after))
        parts = variance**2 / freedom + of_seeds**2 / shared  # Welch and Satterthwaite
        variance += of_seeds
        freedom = variance**2 / parts if parts else math.inf
    counted = draws[~np.isnan(draws)]
    other = float((counted * np.sign(value) <= 0).mean()) if counted.size else math.nan
    p = max(min(1.0, 2 * other), tail(value, variance, freedom))
    return Difference(value, interval(draws, images), other, p, seeds)


def reversed_(found: Difference) -> Difference:
    """First row minus second."""
    low, high = found.interval
    return found._replace(value=-found.value, interval=Interval(-high, -low))


def tail(value: float, variance: float, freedom: float) -> float:
    """Probability that Student's t is at least this far from 0, on either side."""
    from scipy.special import ndtr, stdtr

    if not variance > 0:
        return 1.0 if value == 0 or math.isnan(variance) else 0.0
    far = -abs(value) / math.sqrt(variance)
    return float(2 * (stdtr(freedom, far) if math.isfinite(freedom) else ndtr(far)))


def holm(values: Sequence[float]) -> list[float]:
    """Adjust p values for being several, by Holm's rule: below 0.05, one is beyond chance.

    The probability that any of those below is there by chance is then at most 0.05, however the
    tests depend on each other. Source: Holm 1979, "A simple sequentially rejective multiple test
    procedure".
    """
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(np.argsort(values, kind="stable").tolist()):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return adjusted


def why_not_paired(first: PerImage, second: PerImage) -> str:
    """Reason why two runs cannot be compared image by image, naming an image; empty if they can."""
    if first.classes != second.classes:
        other = sorted({*first.classes} ^ {*second.classes}) or ["their order"]
        return f"different classes: {', '.join(other[:3])}"
    ours, theirs = dict.fromkeys(first.names), dict.fromkeys(second.names)
    only = [(name, "first") for name in ours if name not in theirs]
    only += [(name, "second") for name in theirs if name not in ours]
    if only:
        shown = ", ".join(f"{name} only in the {side}" for name, side in only[:3])
        more = f" and {len(only) - 3} more" if len(only) > 3 else ""
        return f"different images: {shown}{more}"
    truth = first.margins()[:, 1]
    other_truth = in_order(second, first.names)[:, 1]
    if len(truth) != len(other_truth):
        return "different images: some are listed twice"
    differing = np.flatnonzero((truth != other_truth).any(1))
    if differing.size:
        return (
            f"different ground truth: {first.names[differing[0]]} and {len(differing) - 1} more "
            "have the same name, but other labels"
        )
    return ""


def in_order(per_image: PerImage, names: Sequence[str]) -> np.ndarray:
    """Margins (N, 3, K) of a run's images, in the order of these names."""
    margins = per_image.margins()
    if per_image.names == tuple(names):
        return margins
    place = {name: i for i, name in enumerate(per_image.names)}
    return margins[[place[name] for name in names]]
