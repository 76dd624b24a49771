"""DeconvNet: poolings undone one by one, where their maxima were found, up to the first one."""

import inspect
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from fcnexp.nn.backbones.base import Backbone
from fcnexp.nn.dense.upsampling import Upsampling
from fcnexp.nn.heads import Head
from fcnexp.nn.layer_probe import Pooling, poolings
from fcnexp.nn.pooling import MaxPool, Switches, Unpool

CONVS = 2  # behind an unpooling, where none are asked for


class Level(nn.Module):
    """An unpooling, and transposed convolutions that fill in what it leaves empty.

    channels: of its input, then behind each of the convolutions.
    """

    def __init__(self, pool: MaxPool, number: str, channels: Sequence[int]) -> None:
        super().__init__()
        self.unpool = Unpool(pool)
        self.convs = nn.ModuleDict()
        for i, (before, behind) in enumerate(zip(channels, channels[1:], strict=False), start=1):
            self.convs[f"deconv{number}_{i}"] = block(before, behind, 3, 1)

    def forward(self, maps: Tensor, switches: Switches) -> Tensor:
        """(N, C, h, w) to (N, C', *switches.size)."""
        maps = self.unpool(maps, switches)
        for conv in self.convs.values():
            maps = conv(maps)
        return maps


class DeconvNet(nn.Module):
    """Scores of the cells that the backbone's first pooling takes: for VGG16, of every pixel.

    The head's features go back to the deepest pooled map by a transposed convolution of fc6's
    window (3x3 where the head has no fc6), then up through a level for each pooling. A level ends
    with the channels of the next finer one.
    head: from None for the number of classes to a head that returns its features.
    convs: transposed convolutions of each level, coarsest first; None: 2 each.
    `grid` says where the scores' cells lie. Source: Noh et al. 2015, fig. 2 and sec. 3.
    Raises ValueError where the backbone records no positions, or convs are of another number.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Callable[[int | None], Head],
        num_classes: int,
        *,
        convs: Sequence[int] | None,
    ) -> None:
        super().__init__()
        _refuse_other_strides(backbone)
        self.backbone, self.head = backbone, head(None)
        pools = poolings(backbone)
        self.grid = backbone.taps[pools[0].step].grid
        depths = _depths(convs, pools)
        kernel, pad = backbone.fc6 if "fc6" in self.head.layers() else (3, 1)
        self.bottleneck = block(self.head.channels, pools[-1].channels, kernel, pad)
        self.levels = nn.ModuleDict()  # coarsest first
        for i, depth in zip(reversed(range(len(pools))), depths, strict=True):
            name, pool, channels, _ = pools[i]
            finer = pools[max(0, i - 1)].channels
            number = name.removeprefix("pool")
            self.levels[f"un{name}"] = Level(pool, number, [channels] * depth + [finer])
        self.score = nn.Conv2d(pools[0].channels, num_classes, 1)
        self.skips = nn.ModuleDict()  # it has none

    def forward(self, image: Tensor) -> Tensor:
        """Scores (N, K, h, w) of an image (N, C, H, W)."""
        switches: list[Switches] = []
        taps = self.backbone(image, switches)  # type: ignore[call-arg]  # it takes a list
        deepest = taps[max(taps)]
        height, width = deepest.shape[-2:]
        maps = self.bottleneck(self.head(deepest))
        maps = maps[..., :height, :width]  # a head pads what is smaller than its window
        for level, found in zip(self.levels.values(), reversed(switches), strict=True):
            maps = level(maps, found)
        return self.score(maps)

    def layers(self) -> dict[str, nn.Module]:
        """Layers that hold weights, by their names in the original net.

        But for the last, its `seg-score-voc`: what scores classes is `score_fr` in all nets here.
        """
        decoder = {"fc6-deconv": self.bottleneck[0]}
        for level in self.levels.values():
            assert isinstance(level, Level)
            convs = level.convs.items()
            decoder |= {name: conv[0] for name, conv in convs}  # type: ignore[index]  # a `block`
        return self.backbone.layers() | self.head.layers() | decoder | self.score_layers()

    def score_layers(self) -> dict[str, nn.Module]:
        """The one layer that scores classes."""
        return {"score_fr": self.score}

    def upsamplings(self) -> dict[str, Upsampling]:
        """None: nothing is interpolated."""
        return {}

    def scales(self) -> dict[str, tuple[int, float]]:
        """None: no tap is scaled."""
        return {}


def block(channels: int, behind: int, kernel: int, pad: int) -> nn.Sequential:
    """A transposed convolution of stride 1, batch normalisation and ReLU.

    Its weights are normal, of mean 0 and variance 2 / fan-in: the paper has a zero-mean Gaussian.
    """
    conv = nn.ConvTranspose2d(channels, behind, kernel, padding=pad)
    # Transposed, what torch calls the fan-out is the number of inputs that an output adds up.
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, nn.BatchNorm2d(behind), nn.ReLU(inplace=True))


def _depths(convs: Sequence[int] | None, pools: list[Pooling]) -> list[int]:
    """Transposed convolutions of each level. Raises ValueError."""
    depths = [CONVS] * len(pools) if convs is None else list(convs)
    if len(depths) != len(pools) or not all(type(n) is int and n > 0 for n in depths):
        raise ValueError(
            f"convs={depths}: this backbone has {len(pools)} poolings to undo, each with 1 "
            f"convolution or more behind it, coarsest first; say convs={[CONVS] * len(pools)}, or "
            "null for the same"
        )
    return depths


def _refuse_other_strides(backbone: Backbone) -> None:
    """Raise ValueError where a trunk cannot say where its maxima were."""
    if "switches" not in inspect.signature(backbone.forward).parameters:  # type: ignore[attr-defined]  # a Module
        raise ValueError(
            f"{type(backbone).__name__} goes down by strided convolutions, which record no "
            "positions to unpool to; choose backbone=vgg16_bn, vgg16, alexnet, googlenet or tiny"
        )
