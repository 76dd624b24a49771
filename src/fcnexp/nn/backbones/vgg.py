"""VGG16's convolutions with the reference nets' padding. Source: voc-fcn32s in nets.yaml."""

import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.nn.backbones.base import PublishedWeights, Tap, refuse_pool5_stride
from fcnexp.nn.fast.convolution import conv_relu
from fcnexp.nn.geometry import IMAGE
from fcnexp.nn.pooling import MaxPool, Switches

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions of each


class VGG16(nn.Module):
    """Thirteen 3x3 convolutions in five blocks; a 2x2 pooling, rounded up, ends each block.

    Taps: stride 1 is conv1_2, strides 2 to 32 are pool1 to pool5.
    pad: padding of conv1_1; 100 in the reference nets, so that fc6 (7x7, unpadded) has a window
    even on a 1x1 image. batch_norm: batch norm after each convolution, as in DeconvNet.
    pool5_stride: 2, or 1: then pool5 is the tap of stride 16, and fc6 is twice as wide (sec. 4.2).
    """

    imagenet = PublishedWeights(
        "VGG_ILSVRC_16_layers.caffemodel",
        "http://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/VGG_ILSVRC_16_layers.caffemodel",
        "9363e1f6d65f7dba68c4f27a1e62105cdf6c4e24",
        "sha1",
    )

    mixed_sizes = True

    def __init__(self, in_channels: int, pad: int, batch_norm: bool, pool5_stride: int) -> None:
        super().__init__()
        refuse_pool5_stride(pool5_stride)
        self.fc6 = (14 // pool5_stride, 0)
        self.pads_image = pad > 1
        self.pad, self.batch_norm = pad, batch_norm
        grid = IMAGE.conv(3, 1, pad)
        self.taps = {1: Tap(BLOCKS[0][0], grid)}
        self.ends: list[int] = []  # stride after each block
        channels = in_channels
        for block, (width, depth) in enumerate(BLOCKS, start=1):
            for i in range(1, depth + 1):
                padding = pad if (block, i) == (1, 1) else 1
                self.add_module(f"conv{block}_{i}", nn.Conv2d(channels, width, 3, padding=padding))
                if batch_norm:
                    self.add_module(f"bn{block}_{i}", nn.BatchNorm2d(width))
                channels = width
            stride = pool5_stride if block == len(BLOCKS) else 2
            self.add_module(f"pool{block}", MaxPool(2, stride))
            grid = grid.conv(2, stride)
            self.ends.append(int(grid.step))
            self.taps[self.ends[-1]] = Tap(width, grid)

    def forward(self, image: Tensor, switches: list[Switches] | None = None) -> dict[int, Tensor]:
        """Return maps by stride of an image (N, C, H, W); see `Backbone`."""
        maps = {}
        x = image
        for block, end in enumerate(self.ends, start=1):
            if block > 1 and end not in self.taps:
                break  # cut off
            x = self.block(x, block)
            if block == 1:
                maps[1] = x
            if end in self.taps:
                x = maps[end] = self.get_submodule(f"pool{block}")(x, switches)
        return maps

    def block(self, maps: Tensor, number: int, padding: tuple[int, int] | None = None) -> Tensor:
        """Return maps (N, channels, h, w) after a block's convolutions, before its pooling.

        number: 1 to 5. padding: of rows and columns, instead of the layers' own.
        """
        for i, layer in enumerate(self.convolutions(number), start=1):
            if self.batch_norm:
                norm = self.get_submodule(f"bn{number}_{i}")
                maps = F.relu(norm(layer(maps)), inplace=True)
            else:
                maps = conv_relu(layer, maps, padding)
        return maps

    def convolutions(self, block: int) -> list[nn.Conv2d]:
        """Return the convolutions of a block, 1 to 5."""
        depth = BLOCKS[block - 1][1]
        return [getattr(self, f"conv{block}_{i}") for i in range(1, depth + 1)]

    def layers(self) -> dict[str, nn.Module]:
        """Return the convolutions by original name."""
        return {name: m for name, m in self.named_children() if name.startswith("conv")}

    def norms(self) -> dict[str, nn.BatchNorm2d]:
        """Return the batch normalisations by DeconvNet's names."""
        return {name: m for name, m in self.named_children() if isinstance(m, nn.BatchNorm2d)}
