"""ImageNet classifiers with fully connected layers, which become convolutions."""

import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.nn.backbones.alexnet import AlexNet
from fcnexp.nn.backbones.vgg import VGG16
from fcnexp.nn.heads import FcHead


class FcClassifier(nn.Module):
    """The 1000 scores of a trunk's deepest map at every position of its window.

    fc6 is as wide as the classifier's deepest map, 6x6 for AlexNet and 7x7 for VGG16; fc7 and fc8
    are 1x1. channels: outputs of fc6 and fc7. mean: of the training images, BGR. side: of the
    classifier's input, pixels. Source: sec. 3.1, fig. 2.
    """

    def __init__(
        self, trunk: AlexNet | VGG16, channels: int, mean: tuple[float, float, float], side: int
    ) -> None:
        super().__init__()
        self.trunk, self.mean, self.side = trunk, mean, side
        self.head = FcHead(trunk, None, channels=channels, dropout=0.5, batch_norm=False)
        self.fc8 = nn.Conv2d(channels, 1000, 1)
        self.grid = self.head.grid

    def score_map(self, image: Tensor) -> Tensor:
        """Return scores (N, 1000, h, w) of images (N, 3, H, W), BGR minus mean."""
        maps = self.trunk(image)
        return self.fc8(self.head(maps[max(maps)]))

    def forward(self, image: Tensor) -> Tensor:
        """Return scores (N, 1000) of whole images: the mean of their map, as VGG's authors test."""
        return F.adaptive_avg_pool2d(self.score_map(image), 1).flatten(1)

    def layers(self) -> dict[str, nn.Module]:
        """Return the layers by original name."""
        return self.trunk.layers() | self.head.layers() | {"fc8": self.fc8}


def alexnet(channels: int = 4096) -> FcClassifier:
    """Caffe's AlexNet; its mean image is replaced by the mean colour, as in the release."""
    trunk = AlexNet(in_channels=3, pad=0, pool5_stride=2)
    return FcClassifier(trunk, channels, (104.00698793, 116.66876762, 122.67891434), 227)


def vgg16(channels: int = 4096) -> FcClassifier:
    """VGG16. Source of the mean: its authors' entry in the Caffe model zoo."""
    trunk = VGG16(in_channels=3, pad=1, batch_norm=False, pool5_stride=2)
    return FcClassifier(trunk, channels, (103.939, 116.779, 123.68), 224)
