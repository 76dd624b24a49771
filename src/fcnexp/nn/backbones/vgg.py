"""VGG16, convolutional part, with the reference nets' padding. Source: voc-fcn32s in nets.yaml."""

import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.nn.backbones.base import PublishedWeights, Tap
from fcnexp.nn.geometry import IMAGE
from fcnexp.nn.layers import max_pool

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions of each


class VGG16(nn.Module):
    """Thirteen 3x3 convolutions in five blocks; a 2x2 pooling, rounded up, ends each block.

    Taps: stride 1 is conv1_2, strides 2 to 32 are pool1 to pool5.
    pad: padding of conv1_1; 100 in the reference nets, so that fc6 (7x7, unpadded) has a window
    even on a 1x1 image.
    """

    fc6 = (7, 0)
    pads_image = True
    imagenet = PublishedWeights(
        "VGG_ILSVRC_16_layers.caffemodel",
        "http://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/VGG_ILSVRC_16_layers.caffemodel",
        "9363e1f6d65f7dba68c4f27a1e62105cdf6c4e24",
        "sha1",
    )

    def __init__(self, in_channels: int, pad: int) -> None:
        super().__init__()
        grid = IMAGE.conv(3, 1, pad)
        self.taps = {1: Tap(BLOCKS[0][0], grid)}
        self.names: list[list[str]] = []
        channels = in_channels
        for block, (width, depth) in enumerate(BLOCKS, start=1):
            self.names.append([f"conv{block}_{i}" for i in range(1, depth + 1)])
            for name in self.names[-1]:
                padding = pad if name == "conv1_1" else 1
                self.add_module(name, nn.Conv2d(channels, width, 3, padding=padding))
                channels = width
            grid = grid.conv(2, 2)
            self.taps[int(grid.step)] = Tap(width, grid)

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """Maps by stride of an image (N, C, H, W)."""
        maps = {}
        x = image
        for block, names in enumerate(self.names):
            for name in names:
                x = F.relu(self.get_submodule(name)(x), inplace=True)
            if block == 0:
                maps[1] = x
            x = max_pool(x, 2, 2)
            maps[2 ** (block + 1)] = x
        return maps

    def layers(self) -> dict[str, nn.Module]:
        """Convolutions by original name."""
        return {name: self.get_submodule(name) for names in self.names for name in names}
