"""DeconvNet: a decoder that unpools level by level, at the recorded positions of the maxima."""

import inspect
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from fcnexp.nn.backbones.base import Backbone
from fcnexp.nn.dense.upsampling import Upsampling
from fcnexp.nn.heads import Head
from fcnexp.nn.layer_probe import Pooling, poolings
from fcnexp.nn.pooling import MaxPool, Switches, Unpool

CONVS = 2  # after each unpooling, by default


class Level(nn.Module):
    """An unpooling, then transposed convolutions that fill in the cells it leaves empty.

    channels: of the input, then of each convolution's output.
    """

    def __init__(self, pool: MaxPool, number: str, channels: Sequence[int]) -> None:
        super().__init__()
        self.unpool = Unpool(pool)
        self.convs = nn.ModuleDict()
        for i, (before, after) in enumerate(pairwise(channels), start=1):
            self.convs[f"deconv{number}_{i}"] = block(before, after, 3, 1)

    def forward(self, maps: Tensor, switches: Switches) -> Tensor:
        """Return maps (N, C', *switches.size) of maps (N, C, h, w)."""
        maps = self.unpool(maps, switches)
        for conv in self.convs.values():
            maps = conv(maps)
        return maps


class DeconvNet(nn.Module):
    """Scores at the resolution of the first pooling's input: for VGG16, of every pixel.

    A transposed convolution with fc6's window (3x3 if the head has no fc6) takes the head's
    features to the size of the deepest pooled map; one level per pooling upsamples from there. Each
    level ends with the channels of the next finer one.
    head: builds a head that returns features, given None as the number of classes.
    convs: transposed convolutions per level, coarsest first; None: 2 each.
    `grid` holds the positions of the scores. Source: Noh et al. 2015, fig. 2 and sec. 3.
    Raises ValueError if the backbone records no positions, or if convs has the wrong length.
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
        _refuse_strided_convolutions(backbone)
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
        self.skips = nn.ModuleDict()  # none

    def forward(self, image: Tensor) -> Tensor:
        """Return scores (N, K, h, w) of an image (N, C, H, W)."""
        switches: list[Switches] = []
        taps = self.backbone(image, switches)  # type: ignore[call-arg]  # it takes switches
        deepest = taps[max(taps)]
        height, width = deepest.shape[-2:]
        maps = self.bottleneck(self.head(deepest))
        maps = maps[..., :height, :width]  # the head pads maps smaller than its window
        for level, found in zip(self.levels.values(), reversed(switches), strict=True):
            maps = level(maps, found)
        return self.score(maps)

    def layers(self) -> dict[str, nn.Module]:
        """Return the layers with weights by their names in the original net.

        Except the last: its `seg-score-voc` is `score_fr`, like the score layer of every net here.
        """
        decoder = {name: convolution[0] for name, convolution in self._blocks().items()}
        return self.backbone.layers() | self.head.layers() | decoder | self.score_layers()

    def norms(self) -> dict[str, nn.BatchNorm2d]:
        """Return the decoder's batch normalisations by their names in the original net."""
        blocks = {name: cast(nn.BatchNorm2d, made[1]) for name, made in self._blocks().items()}
        bottleneck = {"fc6-deconv-bn": blocks.pop("fc6-deconv")}
        return bottleneck | {f"debn{name.removeprefix('deconv')}": m for name, m in blocks.items()}

    def _blocks(self) -> dict[str, nn.Sequential]:
        """Return the decoder's blocks by the original names of their convolutions."""
        found: dict[str, nn.Module] = {"fc6-deconv": self.bottleneck}
        for level in self.levels.values():
            found |= cast(Level, level).convs.items()
        return cast(dict[str, nn.Sequential], found)

    def score_layers(self) -> dict[str, nn.Module]:
        """Return the single score layer."""
        return {"score_fr": self.score}

    def upsamplings(self) -> dict[str, Upsampling]:
        """Return {}: nothing is interpolated."""
        return {}

    def scales(self) -> dict[str, tuple[int, float]]:
        """Return {}: no tap is scaled."""
        return {}


def block(in_channels: int, channels: int, kernel: int, pad: int) -> nn.Sequential:
    """Return a transposed convolution of stride 1, batch normalisation and ReLU.

    Weights are normal with mean 0 and variance 2 / fan-in; the paper says a zero-mean Gaussian.
    """
    conv = nn.ConvTranspose2d(in_channels, channels, kernel, padding=pad)
    # For a transposed convolution, the number of inputs per output is what torch calls fan-out.
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def _depths(convs: Sequence[int] | None, pools: list[Pooling]) -> list[int]:
    """Return the number of transposed convolutions of each level. Raises ValueError."""
    depths = [CONVS] * len(pools) if convs is None else list(convs)
    if len(depths) != len(pools) or not all(type(n) is int and n > 0 for n in depths):
        raise ValueError(
            f"convs={depths}: this backbone has {len(pools)} poolings to undo; give 1 or more "
            f"convolutions for each, coarsest first; try convs={[CONVS] * len(pools)} or convs=null"
        )
    return depths


def _refuse_strided_convolutions(backbone: Backbone) -> None:
    """Raise ValueError if a trunk cannot record the positions of its maxima."""
    if "switches" not in inspect.signature(backbone.forward).parameters:  # type: ignore[attr-defined]  # a Module
        raise ValueError(
            f"{type(backbone).__name__} downsamples by strided convolutions, which record no "
            "positions to unpool to; choose backbone=vgg16_bn, vgg16, alexnet, googlenet or tiny"
        )
