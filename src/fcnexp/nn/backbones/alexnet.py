"""AlexNet as the paper used it (Caffe's, one tower with groups). Source: voc-fcn-alexnet."""

from torch import Tensor, nn

from fcnexp.nn.backbones.base import PublishedWeights, Tap, refuse_pool5_stride
from fcnexp.nn.fast.convolution import conv_relu
from fcnexp.nn.geometry import IMAGE
from fcnexp.nn.layers import LocalResponseNorm
from fcnexp.nn.pooling import MaxPool, Switches


class AlexNet(nn.Module):
    """Five convolutions, 96-256-384-384-256, in the order convolution, ReLU, pooling, norm.

    Taps: stride 4 conv1, 8 norm1, 16 conv5, 32 pool5.
    pad: padding of conv1, 100 in the reference net.
    pool5_stride: 2, or 1: then pool5 is the tap of stride 16, and fc6 is twice as wide (sec. 4.2).
    """

    imagenet = PublishedWeights(
        "bvlc_reference_caffenet.caffemodel",
        "http://dl.caffe.berkeleyvision.org/bvlc_reference_caffenet.caffemodel",
        "4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46",
        "sha1",
    )

    mixed_sizes = True

    def __init__(self, in_channels: int, pad: int, pool5_stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 96, 11, stride=4, padding=pad)
        self.norm1 = LocalResponseNorm()
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.norm2 = LocalResponseNorm()
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.pool1, self.pool2, self.pool5 = MaxPool(3, 2), MaxPool(3, 2), MaxPool(3, pool5_stride)
        refuse_pool5_stride(pool5_stride)
        self.pads_image = pad > 5
        self.fc6 = (12 // pool5_stride, 0)
        conv1 = IMAGE.conv(11, 4, pad)
        pool1 = conv1.conv(3, 2)
        pool2 = pool1.conv(3, 2)
        self.taps = {
            4: Tap(96, conv1),
            8: Tap(96, pool1),
            16: Tap(256, pool2),  # conv2 to conv5 keep pool2's grid
            16 * pool5_stride: Tap(256, pool2.conv(3, pool5_stride)),
        }

    def forward(self, image: Tensor, switches: list[Switches] | None = None) -> dict[int, Tensor]:
        """Return maps by stride of an image (N, C, H, W); see `Backbone`."""
        deepest = max(self.taps)
        conv1 = conv_relu(self.conv1, image)
        if deepest == 4:
            return {4: conv1}
        norm1 = self.norm1(self.pool1(conv1, switches))
        if deepest == 8:
            return {4: conv1, 8: norm1}
        norm2 = self.norm2(self.pool2(conv_relu(self.conv2, norm1), switches))
        conv3 = conv_relu(self.conv3, norm2)
        conv4 = conv_relu(self.conv4, conv3)
        conv5 = conv_relu(self.conv5, conv4)
        maps = {4: conv1, 8: norm1, 16: conv5}
        if hasattr(self, "pool5"):
            maps[deepest] = self.pool5(conv5, switches)
        return maps

    def layers(self) -> dict[str, nn.Module]:
        """Return the convolutions by original name."""
        names = (f"conv{i}" for i in range(1, 6))
        return {name: self.get_submodule(name) for name in names if hasattr(self, name)}
