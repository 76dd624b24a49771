"""Filter rarefaction (a trous): a net's scores on a finer grid, from filters spread by zeros.

Where a stride is taken away, the map behind it has more cells, and whatever looked at neighbours
must now look that many cells further: its filter is dilated, its padding widened. Each cell of the
plain net is a cell of the rarefied one, and has the same value. Source: sec. 3.2.
"""

import copy
from collections.abc import Iterable
from itertools import chain
from typing import TypeVar

from torch import Tensor, nn

from fcnexp.nn.backbones.base import Backbone, Tap
from fcnexp.nn.dense.padding import trim
from fcnexp.nn.dense.upsampling import Scorer, Upsampling, to_pixels
from fcnexp.nn.fcn import SkipNet
from fcnexp.nn.fuse import Skip
from fcnexp.nn.geometry import Grid
from fcnexp.nn.layer_probe import steps
from fcnexp.nn.pooling import MaxPool
from fcnexp.nn.streams import LateFusion, Network

Net = TypeVar("Net", bound=nn.Module)


class Rarefaction(nn.Module):
    """Scores of every `stride`-th pixel by a rarefied scorer, interpolated where stride is above 1.

    The scorer is rarefied in place when this is built, and computes no cell that no pixel needs;
    its weights and their names stay. Beyond the outermost cells their scores are repeated.
    Raises ValueError where the scorer cannot be rarefied to this stride.
    """

    def __init__(self, num_classes: int, scorer: Scorer, *, stride: int) -> None:
        super().__init__()
        spread(scorer, stride)
        wires = to_pixels(num_classes, scorer, edges="repeat", learned=False)
        for stream in _streams(scorer):
            trim(stream, wires)
        self.upsampling = to_pixels(num_classes, scorer, edges="repeat", learned=False)

    def forward(self, scorer: Scorer, image: Tensor) -> Tensor:
        """Scores (N, K, H, W) of an image (N, C, H, W)."""
        return self.upsampling(scorer(image), (0, 0), (image.shape[-2], image.shape[-1]))


def rarefy(net: Net, stride: int) -> Net:
    """A net on the same weights with no map coarser than `stride` pixels from cell to cell.

    net: a `Network`, or a scorer of one. Its stride or more gives a net that is the same; any
    divisor of the maps' strides will do. In a net with skips, maps that were doubled to be fused
    are computed instead. Move the net to its device first: weights are shared, and a move would
    part them. Raises ValueError.
    """
    twin = share(net)
    if isinstance(twin, Network):
        scorer = twin.net.scorer
        if list(twin.net.dense.parameters()):
            raise ValueError("an interpolation that was trained has no place in a rarefied net")
        if stride < max(
            t.grid.step for s in twin.scorers().values() for t in s.backbone.taps.values()
        ):
            classes = sum(twin.outputs.values())
            twin.net.dense = Rarefaction(classes, scorer, stride=stride)
    else:
        spread(twin, stride)  # type: ignore[arg-type]  # a Scorer
    return twin


def share(net: Net) -> Net:
    """A copy of a net's modules that holds the very same parameters and buffers."""
    known: dict[int, object] = {id(t): t for t in chain(net.parameters(), net.buffers())}
    for module in net.modules():  # whoever watches the one does not watch the other
        known |= {id(h): type(h)() for h in (module._forward_hooks, module._forward_pre_hooks)}
    return copy.deepcopy(net, known)


def spread(scorer: Scorer, stride: int) -> None:
    """Rarefy a scorer in place. Raises ValueError where it cannot be."""
    for stream in _streams(scorer):
        _spread_net(stream, stride)


def _streams(scorer: Scorer) -> list[SkipNet]:
    """The nets that a scorer is made of. Raises ValueError where one cannot be rarefied."""
    nets = list(scorer.streams.values()) if isinstance(scorer, LateFusion) else [scorer]
    for net in nets:
        if not isinstance(net, SkipNet):
            raise ValueError(f"{type(net).__name__} unpools by its strides, which must stay")
    return nets  # type: ignore[return-value]  # looked at


def _spread_net(scorer: SkipNet, stride: int) -> None:
    coarse = max(tap.grid.step for tap in scorer.backbone.taps.values())
    spread_trunk(scorer.backbone, stride)
    factor = int(coarse / min(coarse, stride))
    head: nn.Module = scorer.head  # type: ignore[assignment]  # it is a Module
    for layer in head.modules():
        if isinstance(layer, nn.Conv2d):
            _dilate(layer, factor)
    grid = scorer.head.grid = _denser(scorer.head.grid, stride)
    for key, skip in scorer.skips.items():
        assert isinstance(skip, Skip)
        tap = scorer.backbone.taps[int(key)]
        skip.line_up(_between(grid, tap, skip), tap)
        grid = skip.grid
    scorer.grid = grid


def spread_trunk(backbone: Backbone, stride: int) -> None:
    """Rarefy a trunk in place. Raises ValueError where its strides do not allow it."""
    layers = steps(backbone)
    _refuse_other_stride(stride, chain.from_iterable(layers.values()))
    for layer, (taken, given) in layers.items():
        factor = taken // min(taken, stride)
        kept = min(given, stride) // min(taken, stride)
        if isinstance(layer, MaxPool):
            layer.stride, layer.dilation = kept, factor
            layer.pad, layer.hang = layer.pad * factor, layer.hang * factor
        elif isinstance(layer, nn.Conv2d):
            layer.stride = (kept, kept)
            _dilate(layer, factor)
        elif taken != given:
            raise ValueError(f"{type(layer).__name__} has a stride, and cannot be rarefied")
    for key, tap in backbone.taps.items():
        backbone.taps[key] = Tap(tap.channels, _denser(tap.grid, stride))


def _dilate(layer: nn.Conv2d, factor: int) -> None:
    """Spread a filter: `factor` times as many cells from one of its inputs to the next."""
    down, across = layer.dilation
    layer.dilation = (down * factor, across * factor)
    assert not isinstance(layer.padding, str), "nets here name their padding in cells"
    top, left = layer.padding
    layer.padding = (top * factor, left * factor)


def _denser(grid: Grid, stride: int) -> Grid:
    return Grid(min(grid.step, stride), grid.origin)


def _between(coarse: Grid, tap: Tap, skip: Skip) -> Upsampling:
    """The interpolation from coarse cells to the tap's; no more than a crop where both are dense.

    Raises ValueError for one that is trained.
    """
    before = skip.upsampling
    if before.learned:
        raise ValueError("interpolations that were trained have no place in a rarefied net")
    factor = int(coarse.step / tap.grid.step)
    classes = skip.score.out_channels
    return Upsampling(classes, coarse, factor, tap.grid, edges=before.edges, learned=False)


def _refuse_other_stride(stride: int, known: Iterable[int]) -> None:
    strides = sorted(set(known))
    allowed = [s for s in range(1, strides[-1] + 1) if all(t <= s or t % s == 0 for t in strides)]
    if stride < 1 or (stride < strides[-1] and stride not in allowed):
        raise ValueError(
            f"stride={stride}: this net's maps have strides {', '.join(map(str, strides))}; it can "
            f"be rarefied to {', '.join(map(str, allowed))}"
        )
