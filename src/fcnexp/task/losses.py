"""Per-pixel loss that ignores void."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp import VOID, WIDE_VOID, void_of
from fcnexp.task.maps import check_integers, check_shape

REDUCTIONS = ("mean", "sum", "image_means")


class PixelLoss(nn.Module):
    """Multinomial logistic loss over all pixels except void, computed in float32 or float64.

    reduction: `mean` over the batch's labelled pixels (Caffe's `normalize: true`); `sum` over
    pixels, divided by the number of images (`normalize: false`: every pixel has the same weight
    whatever its image's size, hence the tiny learning rates of the `heavy` regime); or
    `image_means`, the sum over images of each image's mean (the D2L exercise; on the batch's mean
    its learning rate would have to be N times as high).
    keep: probability that a square of `cell` pixels counts in training, drawn again at every call;
    in (0, 1], 1 for all. Squares left out are treated as void, so that a mean is over the kept
    pixels, and a sum is on average `keep` times the full sum. Source: sec. 4.3, where the batch is
    1 / keep times as large.
    cell: side of the squares in pixels; 1 for single pixels, 32 for the stride of FCN-32s. The
    first square is at the image's upper left corner, independent of the net's own cells.
    balance: weight of each class, None for 1; a mean divides by the sum of the pixels' weights.
    void_as: class that void pixels count as; None leaves them out. The D2L exercise reads void as
    background, 0.
    """

    weights: Tensor | None

    def __init__(
        self,
        *,
        reduction: str,
        keep: float,
        cell: int,
        balance: Sequence[float] | None,
        void_as: int | None = None,
    ) -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction={reduction}: allowed are {', '.join(REDUCTIONS)}")
        if not 0 < keep <= 1 or cell < 1:
            raise ValueError(f"keep={keep}, cell={cell}: keep is in (0, 1], cell is 1 or more")
        if void_as is not None and (type(void_as) is not int or void_as in (VOID, WIDE_VOID)):
            raise ValueError(f"void_as={void_as}: must be the index of a class, such as 0, or None")
        self.reduction, self.keep, self.cell, self.void_as = reduction, keep, cell, void_as
        weights = None if balance is None else torch.tensor(balance, dtype=torch.float32)
        # Not persistent: checkpoints hold the net only, and scoring one builds no loss.
        self.register_buffer("weights", weights, persistent=False)
        self.processes = 1  # that share each batch; their gradients are averaged

    def forward(self, scores: Tensor, label: Tensor) -> Tensor:
        """Return the loss (scalar) of scores (N, K, H, W) and label (N, H, W), see `void_of`.

        A batch in which no pixel counts has loss 0, with zero gradients. Raises ValueError if the
        label is not of integers or has another shape.
        """
        check_integers("label", label)
        check_shape("label", label, (scores.shape[0], *scores.shape[2:]), "scores")
        scores = scores if scores.dtype == torch.float64 else scores.float()
        void = void_of(label)
        if self.void_as is not None:
            label = label.masked_fill(label == void, self.void_as)
        if self.training and self.keep < 1:
            label = label.masked_fill(~self._kept(label), void)
        weights = None if self.weights is None else self.weights.to(scores.dtype)
        each = F.cross_entropy(scores, label.long(), weights, ignore_index=void, reduction="none")
        if self.reduction == "sum":
            return each.sum() / scores.shape[0]
        over = (1, 2) if self.reduction == "image_means" else (0, 1, 2)
        counted = _mass(label, weights, over)
        if self.processes > 1 and self.reduction == "mean":
            torch.distributed.all_reduce(counted)
        return self.processes * (each.sum(over) / counted.where(counted > 0, 1)).sum()

    def pixels(self, label: Tensor) -> float:
        """Return the number of pixels whose losses add up for a label (N, H, W); 1 for a mean."""
        images, height, width = label.shape
        return {"sum": height * width, "image_means": images, "mean": 1}[self.reduction]

    def _kept(self, label: Tensor) -> Tensor:
        """Draw the pixels that count in this call, bool (N, H, W)."""
        images, height, width = label.shape
        rows, columns = -(-height // self.cell), -(-width // self.cell)
        # The CPU's generator gives the same draw whatever the device.
        kept = torch.rand(images, rows, columns) < self.keep
        kept = kept.repeat_interleave(self.cell, 1).repeat_interleave(self.cell, 2)
        return kept[:, :height, :width].to(label.device)


def _mass(label: Tensor, weights: Tensor | None, over: tuple[int, ...]) -> Tensor:
    """Sum of the class weights of all pixels except void, over some axes."""
    if weights is None:
        return torch.count_nonzero(label != void_of(label), dim=over)
    padded = F.pad(weights, (0, max(VOID, len(weights)) + 1 - len(weights)))
    return padded[label.long()].sum(over)  # void, 255 or -1, is the last: it weighs 0
