"""Per-pixel loss; void pixels have none."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.labels import VOID

REDUCTIONS = ("mean", "sum")


class PixelLoss(nn.Module):
    """Multinomial logistic loss over all pixels that are not void, always in float32.

    reduction: `mean` over the batch's labelled pixels (Caffe's `normalize: true`), or `sum` over
    pixels, divided by the number of images (`normalize: false`: every pixel weighs the same
    whatever its image's size, hence the tiny learning rates of the `heavy` regime).
    """

    def __init__(self, *, reduction: str) -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction={reduction}: allowed are {' and '.join(REDUCTIONS)}")
        self.reduction = reduction

    def forward(self, scores: Tensor, label: Tensor) -> Tensor:
        """Loss (scalar) of scores (N, K, H, W) and label uint8 (N, H, W).

        A batch that is void everywhere has loss 0, with zero gradients.
        """
        total = F.cross_entropy(scores.float(), label.long(), ignore_index=VOID, reduction="sum")
        if self.reduction == "sum":
            return total / scores.shape[0]
        return total / torch.count_nonzero(label != VOID).clamp(min=1)
