"""Small nets for comparing the dense methods."""

import torch
from torch import Tensor, nn

from fcnexp.nn.backbones.base import Tap
from fcnexp.nn.dense.upsampling import Upsampling
from fcnexp.nn.fcn import SkipNet
from fcnexp.nn.geometry import IMAGE, Grid
from fcnexp.nn.heads import LinearHead
from fcnexp.nn.pooling import MaxPool


class Unpadded(nn.Module):
    """A trunk without padding: a 3x3 convolution and a pooling by 2 for each factor of its stride.

    The second pooling is 3x3 and the third a strided convolution, to cover all kinds of layers.
    hang: 1 makes poolings round up.
    """

    fc6 = (3, 0)
    pads_image = False

    def __init__(self, stride: int, hang: int = 0) -> None:
        super().__init__()
        self.taps = {1: Tap(4, IMAGE.conv(3))}
        grid, self.parts = IMAGE, nn.ModuleList()
        while grid.step < stride:
            number = len(self.parts) // 2
            kernel = 3 if number == 1 else 2
            strided = nn.Conv2d(4, 4, 3, stride=2) if number == 2 else MaxPool(kernel, 2, hang=hang)
            conv = nn.Conv2d(4 if number else 3, 4, 3)
            self.parts += [nn.Sequential(conv, nn.ReLU()), strided]
            grid = grid.conv(3).conv(3 if number == 2 else kernel, 2)
            self.taps[int(grid.step)] = Tap(4, grid)

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        x, maps = image, {}
        for number, part in enumerate(self.parts):
            x = part(x)
            if number == 0 or number % 2:
                maps[2 ** ((number + 1) // 2)] = x
        return maps

    def layers(self) -> dict[str, nn.Module]:
        return {}


def scorer(backbone: nn.Module, skips: tuple[int, ...] = (), classes: int = 3) -> SkipNet:
    """Return a float64 net with random weights that scores a trunk's deepest map."""
    net = SkipNet(
        backbone,
        lambda k: LinearHead(backbone, k, dropout=0),
        classes,
        lambda *wires: Upsampling(*wires, edges="repeat", learned=False),
        deepest=None,
        skips=skips,
        scales=(1,) * len(skips),
        fusion="sum",
        trained="all",
    )
    return randomise(net).double().eval()


def randomise(net: nn.Module, seed: int = 0) -> nn.Module:
    """Set random weights, scaled so that maps neither explode nor vanish."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            drawn = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p.copy_(drawn * (2 / p[0].numel()) ** 0.5 if p.ndim > 1 else 0.1 * drawn)
    return net


def picture(*size: int, channels: int = 3, seed: int = 1) -> Tensor:
    """Return a random float64 image (1, C, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, *size, generator=generator, dtype=torch.float64)


def inside(grid: Grid, cells: int, field: float, first: float, last: float) -> slice:
    """Return the cells whose receptive field lies between two pixels, along one axis."""
    places = [grid.origin + grid.step * i for i in range(cells)]
    reach = (field - 1) / 2
    fitting = [i for i, p in enumerate(places) if p - reach >= first and p + reach <= last]
    assert fitting, "the image is too small to have an interior"
    return slice(fitting[0], fitting[-1] + 1)
