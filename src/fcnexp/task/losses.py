"""Per-pixel loss; void pixels have none."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp import VOID

REDUCTIONS = ("mean", "sum", "image_means")


class PixelLoss(nn.Module):
    """Multinomial logistic loss over all pixels that are not void, never in half precision.

    reduction: `mean` over the batch's labelled pixels (Caffe's `normalize: true`); `sum` over
    pixels, divided by the number of images (`normalize: false`: every pixel weighs the same
    whatever its image's size, hence the tiny learning rates of the `heavy` regime); or
    `image_means`, the sum over images of each one's mean (the D2L exercise, whose rate on the
    batch's mean would be as many times as high as there are images).
    keep: probability with which a square of `cell` pixels counts in training, drawn anew at every
    call; in (0, 1], 1 for all. What is left out is as if void, so that a mean is over what was
    kept, and a sum is `keep` times the full one on average. Source: sec. 4.3, where the batch is
    made 1 / keep times as large.
    cell: side of the squares; 1 for single pixels, 32 for as much as a cell of FCN-32s stands for.
    The first is at the image's upper left corner, wherever the net's own cells lie.
    balance: weight of each class, None for 1; a mean divides by the weights of what it is over.
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
        self.reduction, self.keep, self.cell, self.void_as = reduction, keep, cell, void_as
        weights = None if balance is None else torch.tensor(balance, dtype=torch.float32)
        # Not persistent: a checkpoint is the net's, and scoring it builds no loss.
        self.register_buffer("weights", weights, persistent=False)
        self.processes = 1  # those that share each batch; their gradients are averaged

    def forward(self, scores: Tensor, label: Tensor) -> Tensor:
        """Loss (scalar) of scores (N, K, H, W) and label uint8 (N, H, W).

        A batch of which nothing counts has loss 0, with zero gradients.
        """
        scores = scores if scores.dtype == torch.float64 else scores.float()
        if self.void_as is not None:
            label = label.masked_fill(label == VOID, self.void_as)
        if self.training and self.keep < 1:
            label = label.masked_fill(~self._kept(label), VOID)
        weights = None if self.weights is None else self.weights.to(scores.dtype)
        each = F.cross_entropy(scores, label.long(), weights, ignore_index=VOID, reduction="none")
        if self.reduction == "sum":
            return each.sum() / scores.shape[0]
        over = (1, 2) if self.reduction == "image_means" else (0, 1, 2)
        counted = _mass(label, weights, over)
        if self.processes > 1 and self.reduction == "mean":
            torch.distributed.all_reduce(counted)
        return self.processes * (each.sum(over) / counted.where(counted > 0, 1)).sum()

    def pixels(self, label: Tensor) -> float:
        """How many pixels' losses the loss of this label, (N, H, W), is the sum of; of a mean 1."""
        images, height, width = label.shape
        return {"sum": height * width, "image_means": images, "mean": 1}[self.reduction]

    def _kept(self, label: Tensor) -> Tensor:
        """Which pixels count this time, bool (N, H, W)."""
        images, height, width = label.shape
        rows, columns = -(-height // self.cell), -(-width // self.cell)
        # From the CPU's generator, so that a run draws the same on any device.
        kept = torch.rand(images, rows, columns) < self.keep
        kept = kept.repeat_interleave(self.cell, 1).repeat_interleave(self.cell, 2)
        return kept[:, :height, :width].to(label.device)


def _mass(label: Tensor, weights: Tensor | None, over: tuple[int, ...]) -> Tensor:
    """Number of pixels that are not void, each as often as its class weighs, over some axes."""
    if weights is None:
        return torch.count_nonzero(label != VOID, dim=over)
    return F.pad(weights, (0, VOID + 1 - len(weights)))[label.long()].sum(over)  # void weighs 0
