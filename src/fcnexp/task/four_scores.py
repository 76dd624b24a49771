"""The paper's four scores of a confusion matrix. Needs no torchmetrics, which is slow to import."""

from torch import Tensor


def scores_of(matrix: Tensor) -> dict[str, float]:
    """Pixel accuracy, mean class accuracy, mean IU and frequency-weighted IU, in [0, 1].

    matrix: int64 (K, K), rows truth. Computed in float64 by the release's convention: a class that
    is neither in the truth nor predicted drops out of the mean IU; one that is predicted but not in
    the truth counts as IU 0, and drops out of the mean accuracy. NaN where nothing was counted.
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
    """Mean IU over the classes that are in the truth, whatever is predicted, in [0, 1]."""
    return float(class_iu(matrix)[matrix.sum(1).cpu() > 0].mean())


def class_iu(matrix: Tensor) -> Tensor:
    """Intersection over union of each class, float64 (K,); NaN where truth and prediction lack it.

    matrix: int64 (K, K), rows truth.
    """
    hits, truth, predicted = _counts(matrix)
    return hits / (truth + predicted - hits)


def class_accuracy(matrix: Tensor) -> Tensor:
    """Share of each class's pixels that are predicted right, float64 (K,); NaN where it is absent.

    matrix: int64 (K, K), rows truth.
    """
    hits, truth, _ = _counts(matrix)
    return hits / truth


def _counts(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    exact = matrix.cpu().double()
    return exact.diagonal(), exact.sum(1), exact.sum(0)
