"""Textbook implementation of FCN-32s, 16s and 8s on VGG16, the reference of all measurements.

The image is padded by 100 pixels and scored in full, poolings round up, fixed bilinear
interpolations are transposed convolutions that are dense over classes, crops are the released
nets' constants. It uses nothing from `fcnexp.nn`. Source: voc-fcn32s, voc-fcn16s, voc-fcn8s of the
reference release.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions of each


class Textbook(nn.Module):
    """FCN of stride 32, 16 or 8. channels: outputs of fc6 and fc7, 4096 in the paper."""

    def __init__(self, stride: int, num_classes: int = 21, channels: int = 4096) -> None:
        super().__init__()
        self.stride = stride
        width = 3
        for block, (out, depth) in enumerate(BLOCKS, start=1):
            for i in range(1, depth + 1):
                padding = 100 if (block, i) == (1, 1) else 1
                self.add_module(f"conv{block}_{i}", nn.Conv2d(width, out, 3, padding=padding))
                width = out
        self.pool = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.fc6, self.fc7 = nn.Conv2d(512, channels, 7), nn.Conv2d(channels, channels, 1)
        self.drop6, self.drop7 = nn.Dropout(0.5), nn.Dropout(0.5)
        self.score_fr = nn.Conv2d(channels, num_classes, 1)
        if stride <= 16:
            self.score_pool4 = nn.Conv2d(512, num_classes, 1)
            self.upscore2 = upsampling(num_classes, 2)
        if stride == 8:
            self.score_pool3 = nn.Conv2d(256, num_classes, 1)
            self.upscore_pool4 = upsampling(num_classes, 2)
        self.upscore = upsampling(num_classes, stride)

    def forward(self, image: Tensor) -> Tensor:
        """Return scores (N, K, H, W) of an image (N, 3, H, W), BGR minus mean."""
        x, pools = image, []
        for block, (_, depth) in enumerate(BLOCKS, start=1):
            for i in range(1, depth + 1):
                x = F.relu(self.get_submodule(f"conv{block}_{i}")(x))
            x = self.pool(x)
            pools.append(x)
        x = self.drop6(F.relu(self.fc6(x)))
        x = self.drop7(F.relu(self.fc7(x)))
        scores = self.score_fr(x)
        if self.stride <= 16:
            scores = self.upscore2(scores)
            scores = scores + window(self.score_pool4(pools[3]), 5, scores)
        if self.stride == 8:
            scores = self.upscore_pool4(scores)
            scores = scores + window(self.score_pool3(pools[2]), 9, scores)
        return window(self.upscore(scores), {32: 19, 16: 27, 8: 31}[self.stride], image)


def upsampling(num_classes: int, factor: int) -> nn.ConvTranspose2d:
    """Fixed bilinear interpolation by an integer factor, dense over classes."""
    layer = nn.ConvTranspose2d(num_classes, num_classes, 2 * factor, factor, bias=False)
    ramp = 1 - (torch.arange(2 * factor) - (factor - 0.5)).abs() / factor
    layer.requires_grad_(False)
    layer.weight.zero_()
    layer.weight[range(num_classes), range(num_classes)] = torch.outer(ramp, ramp)
    return layer


def window(maps: Tensor, first: int, like: Tensor) -> Tensor:
    """Crop of maps (N, C, h, w) from row and column `first` on, to the size of `like`."""
    height, width = like.shape[-2:]
    return maps[:, :, first : first + height, first : first + width].contiguous()
