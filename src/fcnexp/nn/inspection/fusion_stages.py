"""Scores of a skip net before and after each fusion."""

from typing import NamedTuple

from torch import Tensor

from fcnexp.nn.dense.interpolation import Interpolation
from fcnexp.nn.fcn import SkipNet, pool_name
from fcnexp.nn.geometry import Grid
from fcnexp.nn.streams import LateFusion, Network, stack


class FusionStage(NamedTuple):
    """Scores of a net after some of its fusions.

    name: `head`, then `+ pool4` ...; step: stride in pixels; scores: of every pixel, (N, K, H, W).
    """

    name: str
    step: int
    scores: Tensor


class _Coarse(NamedTuple):
    name: str
    scores: Tensor  # (N, K, h, w)
    grid: Grid


def fusion_stages(net: Network, inputs: dict[str, Tensor]) -> list[FusionStage]:
    """Return the stages of a net with skips; the last one has the net's own output.

    Earlier stages are interpolated linearly from their cells and averaged over streams.
    inputs: in network space (N, C, H, W) by field. Raises ValueError if the net has no skips.
    """
    streams = list(net.scorers().values())
    nets = [stream for stream in streams if isinstance(stream, SkipNet) and len(stream.skips)]
    if len(nets) < len(streams):
        raise ValueError("the net has no skips, so there is nothing to fuse")
    image, scorer = stack([inputs[name] for name in net.fields]), net.net.scorer
    images = image.split(scorer.channels, 1) if isinstance(scorer, LateFusion) else (image,)
    parts = [_coarse(one, x) for one, x in zip(nets, images, strict=True)]
    size = (image.shape[-2], image.shape[-1])
    found = []
    for same in zip(*parts, strict=True):
        name, step = same[0].name, int(same[0].grid.step)
        dense = [Interpolation(part.grid)(part.scores, size) for part in same]
        found.append(FusionStage(name, step, sum(dense[1:], start=dense[0]) / len(dense)))
    return [*found[:-1], found[-1]._replace(scores=net(inputs))]


def _coarse(net: SkipNet, image: Tensor) -> list[_Coarse]:
    """Coarse scores of one stream, from the head and after each fusion."""
    taps = net.backbone(image)
    scores = net.head(taps[max(taps)])
    found = [_Coarse("head", scores, net.head.grid)]
    for stride, skip in net.skips.items():
        scores = skip(scores, taps[int(stride)])
        found.append(_Coarse(f"+ {pool_name(int(stride))}", scores, skip.grid))  # type: ignore[arg-type]  # a Skip's
    return found
