"""From coarse scores to the image in one transposed convolution, fixed or learned."""

import torch
from torch import Tensor, nn

from fcnexp.errors import ConfigError
from fcnexp.nn.dense.upsampling import (
    Scorer,
    bilinear_kernel,
    diagonal,
    full_precision,
    to_pixels,
)

LEARNED = ("none", "skips", "all")


class Deconvolution(nn.Module):
    """Upsampling of coarse scores to the image in one step, cropped to it.

    The crop is derived from where the scorer's cells lie: 19 pixels for FCN-32s, 27 for FCN-16s,
    31 for FCN-8s, 18 for AlexNet.
    learned: which interpolations are trained; of `none`, `skips` and `all` this is the last one.
    """

    def __init__(self, num_classes: int, scorer: Scorer, *, edges: str, learned: str) -> None:
        super().__init__()
        if learned not in LEARNED:
            raise ValueError(f"learned={learned}: allowed are {', '.join(LEARNED)}")
        self.upsampling = to_pixels(num_classes, scorer, edges=edges, learned=learned == "all")

    def forward(self, scorer: Scorer, image: Tensor) -> Tensor:
        """Scores (N, K, H, W) of an image (N, C, H, W)."""
        return self.upsampling(scorer(image), (0, 0), (image.shape[-2], image.shape[-1]))


class LearnedDeconvolution(nn.Module):
    """Upsampling by one transposed convolution that is trained, dense over classes, with bias.

    It starts bilinear on the diagonal over classes. kernel, pad: the D2L exercise's 64 and 16,
    for which the output begins at the image's first pixel by position in the array; by where the
    cells lie it is half a cell (15.5 pixels) early, which training has to make up for.
    Source: D2L, chapter "Fully Convolutional Networks" (PAPER.yaml, d2l_fcn_resnet18).
    """

    def __init__(self, num_classes: int, scorer: Scorer, *, kernel: int, pad: int) -> None:
        super().__init__()
        stride = int(scorer.grid.step)
        if kernel - stride != 2 * pad:
            fitting = 2 * stride - stride % 2
            raise ValueError(
                f"kernel={kernel}, pad={pad}: at stride {stride} the output is a whole multiple of "
                f"the map where kernel - 2 * pad = {stride}; say kernel={fitting} "
                f"pad={(fitting - stride) // 2}"
            )
        self.upscore = nn.ConvTranspose2d(num_classes, num_classes, kernel, stride, pad)
        with torch.no_grad():
            self.upscore.weight.copy_(diagonal(bilinear_kernel(kernel), num_classes))
            assert self.upscore.bias is not None
            self.upscore.bias.zero_()

    def forward(self, scorer: Scorer, image: Tensor) -> Tensor:
        """Scores (N, K, H, W) of an image (N, C, H, W)."""
        height, width = image.shape[-2:]
        scores = scorer(image)
        with full_precision(scores):
            dense = self.upscore(scores if scores.dtype == torch.float64 else scores.float())
        if dense.shape[-2] < height or dense.shape[-1] < width:
            raise ConfigError(
                f"dense=deconv_d2l gives {tuple(dense.shape[-2:])} pixels for an image of "
                f"{(height, width)}: it is for backbones that pad each layer, such as resnet18"
            )
        return dense[..., :height, :width]
