"""GoogLeNet from the BVLC zoo: with response normalisation, without batch normalisation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.nn.backbones.base import PublishedWeights, Tap
from fcnexp.nn.fast.convolution import conv_relu
from fcnexp.nn.geometry import IMAGE
from fcnexp.nn.layers import LocalResponseNorm
from fcnexp.nn.pooling import MaxPool, Switches

# Outputs of 1x1, 3x3_reduce, 3x3, 5x5_reduce, 5x5, pool_proj. Source: Szegedy et al. 2015, table 1.
INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
POOLED_AFTER = ("3b", "4e")  # a 3x3 pooling of stride 2 follows these


class Inception(nn.Module):
    """Four parallel branches, outputs concatenated: 1x1; 3x3; 5x5; pooling and 1x1."""

    mixed_sizes = True

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        one, three_reduce, three, five_reduce, five, project = widths
        self.conv1 = nn.Conv2d(in_channels, one, 1)
        self.reduce3 = nn.Conv2d(in_channels, three_reduce, 1)
        self.conv3 = nn.Conv2d(three_reduce, three, 3, padding=1)
        self.reduce5 = nn.Conv2d(in_channels, five_reduce, 1)
        self.conv5 = nn.Conv2d(five_reduce, five, 5, padding=2)
        self.pool = MaxPool(3, 1, pad=1)
        self.project = nn.Conv2d(in_channels, project, 1)
        self.channels = one + three + five + project

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (N, channels, H, W) of maps (N, in, H, W)."""
        branches = [
            conv_relu(self.conv1, maps),
            conv_relu(self.conv3, conv_relu(self.reduce3, maps)),
            conv_relu(self.conv5, conv_relu(self.reduce5, maps)),
            conv_relu(self.project, self.pool(maps)),
        ]
        return torch.cat(branches, dim=1)

    def layers(self, block: str) -> dict[str, nn.Module]:
        """Return the convolutions by original name, in the original order."""
        return {
            f"inception_{block}/1x1": self.conv1,
            f"inception_{block}/3x3_reduce": self.reduce3,
            f"inception_{block}/3x3": self.conv3,
            f"inception_{block}/5x5_reduce": self.reduce5,
            f"inception_{block}/5x5": self.conv5,
            f"inception_{block}/pool_proj": self.project,
        }


class GoogLeNet(nn.Module):
    """Three convolutions and nine inception blocks; 3x3 poolings of stride 2, sizes rounded up.

    Taps: stride 2 conv1, 4 norm2, 8 inception 3b, 16 inception 4e, 32 inception 5b.
    pad: padding of conv1, 3 in the classifier.
    """

    fc6 = (7, 3)  # for head=fc; the paper scores the last map directly
    imagenet = PublishedWeights(
        "bvlc_googlenet.caffemodel",
        "http://dl.caffe.berkeleyvision.org/bvlc_googlenet.caffemodel",
        "405fc5acd08a3bb12de8ee5e23a96bec22f08204",
        "sha1",
    )

    mixed_sizes = True

    def __init__(self, in_channels: int, pad: int) -> None:
        super().__init__()
        self.pads_image = pad > 3
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=pad)
        self.norm1 = LocalResponseNorm()
        self.reduce2 = nn.Conv2d(64, 64, 1)
        self.conv2 = nn.Conv2d(64, 192, 3, padding=1)
        self.norm2 = LocalResponseNorm()
        self.pool1, self.pool2, self.pool3, self.pool4 = (MaxPool(3, 2) for _ in range(4))
        channels = 192
        for block, widths in INCEPTION.items():
            inception = Inception(channels, widths)
            self.add_module(f"inception_{block}", inception)
            channels = inception.channels
        grid = IMAGE.conv(7, 2, pad)
        self.taps = {2: Tap(64, grid)}
        for width in (192, 480, 832, 1024):
            grid = grid.conv(3, 2)
            self.taps[int(grid.step)] = Tap(width, grid)

    def forward(self, image: Tensor, switches: list[Switches] | None = None) -> dict[int, Tensor]:
        """Return maps by stride of an image (N, C, H, W); see `Backbone`."""
        conv1 = conv_relu(self.conv1, image)
        if max(self.taps) == 2:
            return {2: conv1}
        norm1 = self.norm1(self.pool1(conv1, switches))
        norm2 = self.norm2(conv_relu(self.conv2, conv_relu(self.reduce2, norm1)))
        maps = {2: conv1, 4: norm2}
        if max(self.taps) == 4:
            return maps
        x, stride = self.pool2(norm2, switches), 8
        for block in INCEPTION:
            x = self.get_submodule(f"inception_{block}")(x)
            if block in POOLED_AFTER:
                maps[stride] = x
                if stride == max(self.taps):
                    return maps
                pool = self.pool3 if stride == 8 else self.pool4
                x, stride = pool(x, switches), stride * 2
        maps[stride] = x
        return maps

    def layers(self) -> dict[str, nn.Module]:
        """Return the convolutions by original name."""
        stem = {"conv1/7x7_s2": "conv1", "conv2/3x3_reduce": "reduce2", "conv2/3x3": "conv2"}
        own = dict(self.named_children())  # a cut trunk lacks the deeper ones
        layers = {original: own[name] for original, name in stem.items() if name in own}
        for block in INCEPTION:
            inception = own.get(f"inception_{block}")
            if isinstance(inception, Inception):
                layers |= inception.layers(block)
        return layers


class GoogLeNetClassifier(nn.Module):
    """The ImageNet classifier on the same trunk: mean over the last map, then 1000 scores.

    Its input is BGR minus mean. It verifies the weight import: a wrong order of channels, blocks or
    blobs would give meaningless scores.
    """

    mean = (104.0, 117.0, 123.0)  # BGR. Source: the BVLC zoo's deploy.prototxt and readme
    side = 224  # of its input, pixels

    def __init__(self) -> None:
        super().__init__()
        self.trunk = GoogLeNet(in_channels=3, pad=3)
        self.classifier = nn.Linear(1024, 1000)
        self.grid = self.trunk.taps[32].grid.conv(7)

    def score_map(self, image: Tensor) -> Tensor:
        """Return scores (N, 1000, h, w): the mean over each 7x7 window, then a 1x1 convolution."""
        weight, bias = self.classifier.weight, self.classifier.bias
        means = F.avg_pool2d(self.trunk(image)[32], 7, 1)  # 7 cells: those of a 224-pixel image
        return F.conv2d(means, weight[:, :, None, None], bias)

    def forward(self, image: Tensor) -> Tensor:
        """Return class scores (N, 1000) of images (N, 3, H, W)."""
        return self.classifier(self.trunk(image)[32].mean(dim=(2, 3)))

    def layers(self) -> dict[str, nn.Module]:
        """Return the layers by original name."""
        return self.trunk.layers() | {"loss3/classifier": self.classifier}
