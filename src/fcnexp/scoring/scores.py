"""Scores of confusion counts by class, for any number of matrices at once.

The conventions are those of `task.four_scores`: a class in neither ground truth nor prediction is
left out of the mean IU, and one without ground truth is left out of the mean accuracy.
"""

from collections.abc import Sequence

import numpy as np


def class_iu(margins: np.ndarray) -> np.ndarray:
    """IU by class, float64 (..., K); NaN if the class is in neither ground truth nor prediction.

    margins: pixels that are hits, ground truth and prediction, (..., 3, K).
    """
    hits, truth, guess = _split(margins)
    with np.errstate(invalid="ignore"):
        return hits / (truth + guess - hits)


def mean_iu(margins: np.ndarray, without: int | Sequence[int] | None = None) -> np.ndarray:
    """Mean IU (...); NaN if nothing was counted. without: place of a class or of several."""
    iu = class_iu(margins)
    return _nanmean(iu if without is None else np.delete(iu, without, axis=-1))


def four_scores(margins: np.ndarray) -> dict[str, np.ndarray]:
    """The paper's four scores, (...) each, by key; NaN if nothing was counted."""
    hits, truth, _ = _split(margins)
    iu = class_iu(margins)
    with np.errstate(invalid="ignore"):
        total = truth.sum(-1)
        weighted = np.where(truth > 0, truth * iu, 0).sum(-1)
        return {
            "pixel_acc": hits.sum(-1) / total,
            "mean_acc": _nanmean(hits / truth),
            "miou": _nanmean(iu),
            "fw_iou": weighted / total,
        }


def _split(margins: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if margins.shape[-2] != 3:
        raise ValueError(
            f"margins have shape {margins.shape}; give hits, truth, guess: (..., 3, K)"
        )
    return margins[..., 0, :], margins[..., 1, :], margins[..., 2, :]


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of the values that are not NaN; NaN, without a warning, of none."""
    counted = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(counted, values, 0).sum(-1) / counted.sum(-1)
