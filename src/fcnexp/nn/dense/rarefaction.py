"""Filter rarefaction (a trous): a net's scores on a finer grid, by dilating its filters.

Removing a stride gives the next map more cells, so every later filter is dilated and its padding
widened by the same factor. Each cell of the plain net is also a cell of the rarefied net, with the
same value. Source: sec. 3.2.
"""

import copy
from collections.abc import Iterable
from itertools import chain
from typing import TypeVar

from torch import Tensor, nn

from fcnexp.nn.backbones.base import Backbone, Tap
from fcnexp.nn.backbones.found import FoundTrunk
from fcnexp.nn.dense.padding import trim_padding
from fcnexp.nn.dense.upsampling import Scorer, Upsampling, to_pixels
from fcnexp.nn.fcn import SkipNet
from fcnexp.nn.fuse import Skip
from fcnexp.nn.geometry import Grid
from fcnexp.nn.layer_probe import steps
from fcnexp.nn.pooling import MaxPool
from fcnexp.nn.streams import LateFusion, Network

Net = TypeVar("Net", bound=nn.Module)


class Rarefaction(nn.Module):
    """Scores of every `stride`-th pixel from a rarefied scorer, interpolated if stride is above 1.

    The constructor rarefies the scorer in place and trims padding that no pixel needs; weights and
    their names stay. Scores are repeated beyond the outermost cells.
    Raises ValueError if the scorer cannot be rarefied to this stride.
    """

    mixed_sizes = True

    def __init__(self, num_classes: int, scorer: Scorer, *, stride: int) -> None:
        super().__init__()
        rarefy_in_place(scorer, stride)
        untrimmed = to_pixels(num_classes, scorer, edges="repeat", learned=False)
        for stream in _streams(scorer):
            trim_padding(stream, untrimmed)
        self.upsampling = to_pixels(num_classes, scorer, edges="repeat", learned=False)

    def forward(self, scorer: Scorer, image: Tensor) -> Tensor:
        """Scores (N, K, H, W) of an image (N, C, H, W)."""
        return self.upsampling(scorer(image), (0, 0), (image.shape[-2], image.shape[-1]))


def rarefy(net: Net, stride: int) -> Net:
    """Return a net with the same weights, none of whose maps has a stride above `stride` pixels.

    net: a `Network`, or a scorer. stride: a divisor of the maps' strides; the net's own stride or
    more leaves it unchanged. In a net with skips, maps that were upsampled for fusion are computed
    instead. Move the net to its device first: the copies share weights, and moving one would
    separate them. Raises ValueError if the net cannot be rarefied to this stride.
    """
    twin = copy_sharing_weights(net)
    if isinstance(twin, Network):
        scorer = twin.net.scorer
        if list(twin.net.dense.parameters()):
            raise ValueError("a net with learned upsampling cannot be rarefied")
        if stride < max(
            t.grid.step for s in twin.scorers().values() for t in s.backbone.taps.values()
        ):
            classes = sum(twin.outputs.values())
            twin.net.dense = Rarefaction(classes, scorer, stride=stride)
    else:
        rarefy_in_place(twin, stride)  # type: ignore[arg-type]  # a Scorer
    return twin


def copy_sharing_weights(net: Net) -> Net:
    """Copy a net without its hooks; the copy shares its parameters and buffers."""
    known: dict[int, object] = {id(t): t for t in chain(net.parameters(), net.buffers())}
    for module in net.modules():  # hooks on the net must not fire for the copy
        known |= {id(h): type(h)() for h in (module._forward_hooks, module._forward_pre_hooks)}
    return copy.deepcopy(net, known)


def rarefy_in_place(scorer: Scorer, stride: int) -> None:
    """Rarefy a scorer in place. Raises ValueError if it cannot be rarefied to this stride."""
    for stream in _streams(scorer):
        _rarefy_net(stream, stride)


def _streams(scorer: Scorer) -> list[SkipNet]:
    """The scorer's nets, one per stream. Raises ValueError if one of them cannot be rarefied."""
    nets = list(scorer.streams.values()) if isinstance(scorer, LateFusion) else [scorer]
    for net in nets:
        if not isinstance(net, SkipNet):
            raise ValueError(
                f"{type(net).__name__} cannot be rarefied: its unpooling needs the strides"
            )
    return nets  # type: ignore[return-value]  # checked above


def _rarefy_net(scorer: SkipNet, stride: int) -> None:
    coarse = max(tap.grid.step for tap in scorer.backbone.taps.values())
    rarefy_trunk(scorer.backbone, stride)
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


def rarefy_trunk(backbone: Backbone, stride: int) -> None:
    """Rarefy a trunk in place. Raises ValueError if its strides do not allow it."""
    if mixing := getattr(backbone, "mixing", ()):
        raise ValueError(
            f"a backbone with {' and '.join(mixing)} cannot be rarefied: with more cells these "
            "would give other values; choose dense=shift_and_stitch dense.shared=false"
        )
    layers = steps(backbone)
    _check_stride(stride, chain.from_iterable(layers.values()))
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
            raise ValueError(f"{type(layer).__name__} has a stride and cannot be rarefied")
    for key, tap in backbone.taps.items():
        backbone.taps[key] = Tap(tap.channels, _denser(tap.grid, stride))
    _check_found(backbone)


def _check_found(backbone: Backbone) -> None:
    """Raise ValueError if a trunk whose geometry was found is not where rarefaction puts it.

    Its strides may be of functions instead of layers.
    """
    if isinstance(backbone, FoundTrunk):
        made = backbone.survey_again()
        for (key, tap), found in zip(backbone.taps.items(), made.maps, strict=True):
            if Grid(found.step, found.origin) != tap.grid:
                raise ValueError(
                    f"this backbone's map of stride {key} cannot be rarefied: not all of its "
                    "strides are layers; choose dense=shift_and_stitch dense.shared=false"
                )


def _dilate(layer: nn.Conv2d, factor: int) -> None:
    """Multiply a convolution's dilation and padding by `factor`."""
    down, across = layer.dilation
    layer.dilation = (down * factor, across * factor)
    assert not isinstance(layer.padding, str), "padding must be a number of cells"
    top, left = layer.padding
    layer.padding = (top * factor, left * factor)


def _denser(grid: Grid, stride: int) -> Grid:
    return Grid(min(grid.step, stride), grid.origin)


def _between(coarse: Grid, tap: Tap, skip: Skip) -> Upsampling:
    """Return the upsampling from coarse cells to the tap's, which only crops if both are dense.

    Raises ValueError if the skip's upsampling is learned.
    """
    before = skip.upsampling
    if before.learned:
        raise ValueError("a net with learned upsampling in its skips cannot be rarefied")
    factor = int(coarse.step / tap.grid.step)
    classes = skip.score.out_channels
    return Upsampling(classes, coarse, factor, tap.grid, edges=before.edges, learned=False)


def _check_stride(stride: int, known: Iterable[int]) -> None:
    strides = sorted(set(known))
    allowed = [s for s in range(1, strides[-1] + 1) if all(t <= s or t % s == 0 for t in strides)]
    if stride < 1 or (stride < strides[-1] and stride not in allowed):
        raise ValueError(
            f"stride={stride}: this net's maps have strides {', '.join(map(str, strides))}; it can "
            f"be rarefied to stride {', '.join(map(str, allowed))}"
        )
