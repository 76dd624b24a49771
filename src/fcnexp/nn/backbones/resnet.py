"""torchvision's residual nets as trunks (the D2L exercise uses ResNet-18)."""

from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from fcnexp.nn.backbones.base import PublishedWeights, Tap
from fcnexp.nn.geometry import IMAGE
from fcnexp.nn.layers import widen
from fcnexp.nn.pooling import MaxPool


class ResNet(nn.Module):
    """torchvision's ResNet without its classifier.

    Taps: stride 2 conv1 (after ReLU), 4 to 32 layer1 to layer4.
    name: one of torchvision's, e.g. `resnet18`.
    """

    fc6 = (7, 3)
    pads_image = False

    def __init__(self, in_channels: int, name: str) -> None:
        super().__init__()
        self.trunk = torchvision.models.get_model(name, weights=None)
        del self.trunk.avgpool, self.trunk.fc
        self.trunk.maxpool = MaxPool(3, 2, pad=1, hang=0)  # torchvision's rounds down
        if in_channels != 3:
            self.trunk.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
        file = weights.url.rsplit("/", 1)[-1]  # named NAME-DIGEST.pth
        digest = file.split("-")[-1].removesuffix(".pth")
        self.imagenet = PublishedWeights(file, weights.url, digest, "sha256")
        expansion = self.trunk.layer1[0].expansion
        grid = IMAGE.conv(7, 2, pad=3)
        self.taps = {2: Tap(64, grid)}
        for width in (64, 128, 256, 512):
            grid = grid.conv(3, 2, pad=1)
            self.taps[int(grid.step)] = Tap(width * expansion, grid)

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """Return maps by stride of an image (N, C, H, W)."""
        net = self.trunk
        x = net.relu(net.bn1(net.conv1(image)))
        maps = {2: x}
        for stride, layer in ((4, "layer1"), (8, "layer2"), (16, "layer3"), (32, "layer4")):
            if stride not in self.taps:
                break  # cut off
            x = net.get_submodule(layer)(net.maxpool(x) if stride == 4 else x)
            maps[stride] = x
        return maps

    def layers(self) -> dict[str, nn.Module]:
        """Return {}: there are no Caffe layer names; torchvision's weights load by key."""
        return {}

    def load_published(self, path: Path) -> None:
        """Load torchvision's weights except the classifier's, conv1 adapted to the input channels.

        Raises RuntimeError if they are from a different net.
        """
        weights = torch.load(path, map_location="cpu", weights_only=True)
        trunk = {name: value for name, value in weights.items() if not name.startswith("fc.")}
        filters = widen(trunk["conv1.weight"].numpy(), self.trunk.conv1.in_channels)
        self.trunk.load_state_dict(trunk | {"conv1.weight": torch.from_numpy(filters)})
