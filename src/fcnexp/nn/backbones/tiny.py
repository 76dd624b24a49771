"""A small VGG-style trunk with batch norm, for tests and the quick start (not in the paper)."""

from torch import Tensor, nn

from fcnexp.nn.backbones.base import Tap
from fcnexp.nn.geometry import IMAGE
from fcnexp.nn.pooling import MaxPool, Switches


class Tiny(nn.Module):
    """Blocks of two 3x3 convolutions with batch normalisation; a 2x2 pooling between blocks.

    Taps: strides 1 to 32, the end of each block, so that every fusion depth can be tried.
    widths: channels of the six blocks, strides 1, 2, 4, 8, 16, 32. Raises ValueError.
    """

    fc6 = (7, 3)
    pads_image = False

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        if any(type(width) is not int or width < 1 for width in widths):
            raise ValueError(f"widths={list(widths)}: must be numbers of channels, each 1 or more")
        self.taps = {}
        grid = IMAGE
        channels = in_channels
        for i, width in enumerate(widths):
            self.add_module(f"block{i + 1}", _block(channels, width))
            if i:
                self.add_module(f"pool{i}", MaxPool(2, 2))
                grid = grid.conv(2, 2)
            self.taps[int(grid.step)] = Tap(width, grid)
            channels = width

    def forward(self, image: Tensor, switches: list[Switches] | None = None) -> dict[int, Tensor]:
        """Return maps by stride of an image (N, C, H, W); see `Backbone`."""
        maps = {}
        x = image
        for i, stride in enumerate(self.taps):
            if i:
                x = self.get_submodule(f"pool{i}")(x, switches)
            x = self.get_submodule(f"block{i + 1}")(x)
            maps[stride] = x
        return maps

    def layers(self) -> dict[str, nn.Module]:
        """Return {}: there is no original net with layer names."""
        return {}


def _block(in_channels: int, width: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for channels in (in_channels, width):
        conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        parts += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts)
