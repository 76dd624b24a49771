"""Upsampling of coarse scores to the image by one transposed convolution, fixed or learned."""

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
from fcnexp.nn.extents import settle

LEARNED = ("none", "skips", "all")


class Deconvolution(nn.Module):
    """Upsampling of coarse scores to the image in one step, cropped to the image's size.

    The crop follows from the scorer's grid: 19 pixels for FCN-32s, 27 for FCN-16s, 31 for FCN-8s,
    18 for AlexNet.
    learned: upsampling layers to train, `none`, `skips` or `all`; only `all` includes this one.
    """

    mixed_sizes = True

    def __init__(self, num_classes: int, scorer: Scorer, *, edges: str, learned: str) -> None:
        super().__init__()
        if learned not in LEARNED:
            raise ValueError(f"learned={learned}: allowed are {', '.join(LEARNED)}")
        self.upsampling = to_pixels(num_classes, scorer, edges=edges, learned=learned == "all")

    def forward(self, scorer: Scorer, image: Tensor) -> Tensor:
        """Scores (N, K, H, W) of an image (N, C, H, W)."""
        return self.upsampling(scorer(image), (0, 0), (image.shape[-2], image.shape[-1]))


class LearnedDeconvolution(nn.Module):
    """Upsampling by one learned transposed convolution, dense over classes, with bias.

    It starts as bilinear interpolation within each class. kernel, pad: the D2L exercise uses 64
    and 16, which aligns the first output with the first pixel by array index; by geometry the
    output is half a cell (15.5 pixels) early, which training has to compensate.
    Source: D2L, chapter "Fully Convolutional Networks" (PAPER.yaml, d2l_fcn_resnet18).
    """

    mixed_sizes = True

    def __init__(self, num_classes: int, scorer: Scorer, *, kernel: int, pad: int) -> None:
        super().__init__()
        stride = int(scorer.grid.step)
        if kernel - stride != 2 * pad:
            fitting = 2 * stride - stride % 2
            raise ValueError(
                f"kernel={kernel}, pad={pad}: at stride {stride}, kernel - 2 * pad must be "
                f"{stride} so that the output is {stride} times the map's size; "
                f"try kernel={fitting} pad={(fitting - stride) // 2}"
            )
        self.upscore = nn.ConvTranspose2d(num_classes, num_classes, kernel, stride, pad)
        with torch.no_grad():
            self.upscore.weight.copy_(diagonal(bilinear_kernel(kernel), num_classes))
            assert self.upscore.bias is not None
            self.upscore.bias.zero_()

    def forward(self, scorer: Scorer, image: Tensor) -> Tensor:
        """Scores (N, K, H, W) of an image (N, C, H, W)."""
        height, width = image.shape[-2:]
        scores = settle(self.upscore, scorer(image), repeat=False)
        with full_precision(scores):
            dense = self.upscore(scores if scores.dtype == torch.float64 else scores.float())
        if dense.shape[-2] < height or dense.shape[-1] < width:
            raise ConfigError(
                f"dense=deconv_d2l gives {tuple(dense.shape[-2:])} pixels for an image of "
                f"{(height, width)}; choose a backbone that pads each layer, such as resnet18"
            )
        return dense[..., :height, :width]
