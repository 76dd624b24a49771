"""Per-pixel loss; void pixels have none."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.labels import VOID

REDUCTIONS = ("mean", "sum", "image_means")


class PixelLoss(nn.Module):
    """Multinomial logistic loss over all pixels that are not void, never in half precision.

    reduction: `mean` over the batch's labelled pixels (Caffe's `normalize: true`); `sum` over
    pixels, divided by the number of images (`normalize: false`: every pixel weighs the same
    whatever its image's size, hence the tiny learning rates of the `heavy` regime); or
    `image_means`, the sum over images of each one's mean (the D2L exercise, whose rate on the
    batch's mean would be as many times as high as there are images).
    void_as: class that void pixels count as; None leaves them out. The D2L exercise reads void as
    background, 0.
    """

    def __init__(self, *, reduction: str, void_as: int | None = None) -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction={reduction}: allowed are {', '.join(REDUCTIONS)}")
        self.reduction, self.void_as = reduction, void_as

    def forward(self, scores: Tensor, label: Tensor) -> Tensor:
        """Loss (scalar) of scores (N, K, H, W) and label uint8 (N, H, W).

        A batch that is void everywhere has loss 0, with zero gradients.
        """
        scores = scores if scores.dtype == torch.float64 else scores.float()
        if self.void_as is not None:
            label = label.masked_fill(label == VOID, self.void_as)
        if self.reduction == "image_means":
            each = F.cross_entropy(scores, label.long(), ignore_index=VOID, reduction="none")
            counts = torch.count_nonzero(label != VOID, dim=(1, 2)).clamp(min=1)
            return (each.sum((1, 2)) / counts).sum()
        total = F.cross_entropy(scores, label.long(), ignore_index=VOID, reduction="sum")
        if self.reduction == "sum":
            return total / scores.shape[0]
        return total / torch.count_nonzero(label != VOID).clamp(min=1)
