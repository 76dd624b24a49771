"""The paper's four scores of a confusion matrix, without torchmetrics, which imports slowly."""

from torch import Tensor


def scores_of(matrix: Tensor) -> dict[str, float]:
    """Pixel accuracy, mean class accuracy, mean IU and frequency-weighted IU, in [0, 1].

    matrix: int64 (K, K), rows ground truth. Computed in float64 by the release's convention: a
    class that is neither in the ground truth nor predicted is dropped from the mean IU; a class
    that is predicted but not in the ground truth counts as IU 0 and is dropped from the mean
    accuracy. NaN if nothing was counted.
    """
    hits, truth, _ = _counts(matrix)
    iu = class_iu(matrix)
    present = truth > 0
    return {
        "pixel_acc": float(hits.sum() / truth.sum()),
        "mean_acc": float((hits / truth).nanmean()),
        "miou": float(iu.nanmean()),
        "fw_iou": float((truth * iu)[present].sum() / truth.sum()),
    }


def mean_iu_of_present(matrix: Tensor) -> float:
    """Mean IU over the classes in the ground truth, in [0, 1]."""
    return float(class_iu(matrix)[matrix.sum(1).cpu() > 0].mean())


def class_iu(matrix: Tensor) -> Tensor:
    """Intersection over union by class, float64 (K,); NaN if in neither truth nor prediction.

    matrix: int64 (K, K), rows ground truth.
    """
    hits, truth, predicted = _counts(matrix)
    return hits / (truth + predicted - hits)


def class_accuracy(matrix: Tensor) -> Tensor:
    """Fraction of each class's pixels predicted correctly, float64 (K,); NaN if it has none.

    matrix: int64 (K, K), rows ground truth.
    """
    hits, truth, _ = _counts(matrix)
    return hits / truth


def _counts(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"confusion matrix has shape {tuple(matrix.shape)}; give (K, K)")
    exact = matrix.cpu().double()
    return exact.diagonal(), exact.sum(1), exact.sum(0)
