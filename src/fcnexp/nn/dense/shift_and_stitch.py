"""Shift-and-stitch: scores of all shifts of an image, interlaced to a finer grid. Source: sec. 3.2.

A scorer of stride f answers every f-th pixel. Moved by r pixels, it answers those r further on, so
that f x f moves answer all, each at the centre of its own receptive field.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fcnexp.nn.dense.rarefaction import share
from fcnexp.nn.dense.upsampling import Scorer, Upsampling
from fcnexp.nn.fcn import SkipNet
from fcnexp.nn.geometry import IMAGE, Grid
from fcnexp.nn.layer_probe import bytes_of, output_size, steps
from fcnexp.nn.pooling import MaxPool
from fcnexp.nn.streams import LateFusion


class ShiftAndStitch(nn.Module):
    """Scores of every `stride`-th pixel by shifting, interpolated where stride is above 1.

    What is moved in is 0, the mean colour. Beyond the outermost cells their scores are repeated.
    shared: compute what shifts have in common once, by splitting maps at each stride into its
        shifts instead of dropping them; else each shift runs through the whole scorer, as the
        paper has it.
    memory: GiB that the maps of one pass may take; as many shifts as fit go together.
    Raises ValueError.
    """

    def __init__(
        self, num_classes: int, scorer: Scorer, *, stride: int, shared: bool, memory: float
    ) -> None:
        super().__init__()
        self.stitch = Stitch(scorer.grid, stride, shared=shared, memory=memory)
        if shared and not all(isinstance(s, SkipNet) for s in _streams(scorer)):
            raise ValueError("shared=true: a net that unpools cannot be split; say shared=false")
        grid = self.stitch.grid
        self.upsampling = Upsampling(
            num_classes, grid, int(grid.step), IMAGE, edges="repeat", learned=False
        )

    def forward(self, scorer: Scorer, image: Tensor) -> Tensor:
        """Scores (N, K, H, W) of an image (N, C, H, W)."""
        cells = self.stitch(scorer(image), scorer, image)
        return self.upsampling(cells, (0, 0), (image.shape[-2], image.shape[-1]))


class Stitch(nn.Module):
    """Scores on a grid that is finer than a scorer's, by shifting; see `ShiftAndStitch`.

    The scorer's own cells keep the scores that it gives on the image itself.
    """

    def __init__(self, coarse: Grid, stride: int, *, shared: bool, memory: float) -> None:
        super().__init__()
        step = int(coarse.step)
        if not 1 <= stride <= step or step % stride:
            divisors = [s for s in range(1, step + 1) if step % s == 0]
            raise ValueError(
                f"stride={stride}: the scorer's is {step}, allowed are "
                f"{', '.join(map(str, divisors))}"
            )
        if memory <= 0:
            raise ValueError(f"memory={memory}: GiB for the maps of a pass, above 0")
        self.step, self.stride, self.shared, self.memory = step, stride, shared, memory
        self.grid = Grid(stride, coarse.origin)
        self.words = f"{(step // stride) ** 2} shifts, interlaced; their cost is not counted"

    def forward(self, plain: Tensor, scorer: Scorer, image: Tensor) -> Tensor:
        """(N, K, m h, m w), m = step / stride, of the scorer's plain scores (N, K, h, w)."""
        if self.stride == self.step:
            return plain
        shifted = self._split if self.shared else self._one_by_one
        height, width = plain.shape[-2:]
        count = self.step // self.stride
        dense = shifted(scorer, image, (height, width))[..., : height * count, : width * count]
        dense = dense.to(plain.dtype, copy=True)
        dense[..., ::count, ::count] = plain
        return dense

    def _one_by_one(self, scorer: Scorer, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Every shift through the whole scorer.

        All are brought to one size, so that they go together: the image's and one cell more of the
        trunk's deepest map. By as much each begins before the image, less its shift: so skips meet
        the cells that they meet on the image itself. What lies before its first cell is dropped.
        """
        deepest = int(max(t.grid.step for s in _streams(scorer) for t in s.backbone.taps.values()))
        leads = [deepest - r for r in range(0, self.step, self.stride)]
        first, (height, width) = deepest // self.step, size
        longer = self._longer(scorer, image, deepest, (first + height, first + width))
        images = [
            F.pad(image, (left, longer - left, top, longer - top))
            for top, left in product(leads, leads)
        ]
        net: nn.Module = scorer  # type: ignore[assignment]  # it is a Module
        scores = [
            part[..., first : first + height, first : first + width]
            for batch in self._batches(images, scorer)
            for part in _run(net, net, torch.cat(batch)).split(len(image))
        ]
        return interlace(torch.cat(scores), len(leads))

    def _longer(self, scorer: Scorer, image: Tensor, deepest: int, cells: tuple[int, int]) -> int:
        """By how much an image has to be longer, lest the scorer gives fewer cells than these.

        By one step of the deepest map; by more where the image is smaller than a window, so that
        growing it gives no cell at first.
        """
        longer = deepest
        while True:
            module: nn.Module = scorer  # type: ignore[assignment]  # it is a Module
            height, width = output_size(module, F.pad(image, (0, longer, 0, longer)))
            if height >= cells[0] and width >= cells[1]:
                return longer
            longer += deepest

    def _batches(self, images: list[Tensor], scorer: Scorer) -> Iterator[list[Tensor]]:
        """Images, as many at once as memory allows."""
        together = self._fit(bytes_of(scorer, images[0]))  # type: ignore[arg-type]  # a Module
        for start in range(0, len(images), together):
            yield images[start : start + together]

    def _split(self, scorer: Scorer, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Every shift at once; the image ends one step later, so that the last cells see all."""
        image = F.pad(image, (0, self.step - 1, 0, self.step - 1))
        streams = _streams(scorer)
        parts = image.split(scorer.channels, dim=1) if isinstance(scorer, LateFusion) else [image]
        dense = [self._split_one(s, part) for s, part in zip(streams, parts, strict=True)]
        return torch.stack(dense).mean(0)

    def _split_one(self, scorer: SkipNet, image: Tensor) -> Tensor:
        trunk: Any = share(scorer.backbone)  # type: ignore[type-var]  # a Module
        splits = _split_at_strides(trunk, self.step, self.stride)
        taps = _run(trunk, trunk, image)
        used = {stride: taps[stride] for stride in (max(taps), *map(int, scorer.skips))}
        deepest = used[max(used)]
        together = self._fit(bytes_of(scorer.head, deepest[:1]))  # type: ignore[arg-type]
        scores = []
        for start in range(0, len(deepest), together):
            part = {stride: maps[start : start + together] for stride, maps in used.items()}
            scores.append(_run(scorer, scorer.score, part))
        dense = torch.cat(scores)
        for factor in reversed(splits):
            dense = interlace(dense, factor)
        return dense

    def _fit(self, size: int) -> int:
        """How many of this size fit into memory, at least one."""
        return max(1, int(self.memory * 2**30 / size))


def interlace(parts: Tensor, factor: int) -> Tensor:
    """(factor^2 N, K, h, w) to (N, K, factor h, factor w): each part fills its own cells.

    Part `factor * row + column` of an image starts in that row and column.
    """
    return F.pixel_shuffle(torch.stack(parts.chunk(factor**2), dim=2).flatten(1, 2), factor)


def split(maps: Tensor, factor: int) -> Tensor:
    """Undo `interlace`: (N, C, h, w) to (factor^2 N, C, h', w'), filled up by 0 behind."""
    height, width = maps.shape[-2:]
    maps = F.pad(maps, (0, -width % factor, 0, -height % factor))
    shifts = product(range(factor), range(factor))
    return torch.cat([maps[..., row::factor, column::factor] for row, column in shifts])


def _split_at_strides(trunk: nn.Module, step: int, stride: int) -> list[int]:
    """Let a trunk keep all cells from `stride` to `step`, as shifts; returns the factors."""
    factors = {}
    for layer, (taken, given) in steps(trunk).items():  # type: ignore[arg-type]  # a Backbone
        if taken == given or given <= stride or taken >= step:
            continue
        kept = max(1, stride // taken)
        factor = factors[taken] = given // taken // kept
        if isinstance(layer, MaxPool):
            layer.stride = kept
        elif isinstance(layer, nn.Conv2d):
            layer.stride = (kept, kept)
        else:
            raise ValueError(f"shared=true: {type(layer).__name__} has a stride; say shared=false")
        layer.register_forward_hook(lambda _, args, out, factor=factor: split(out, factor))
    return [factors[taken] for taken in sorted(factors)]


def _run(net: nn.Module, score: Callable[[Any], Any], inputs: Any) -> Any:
    """What a net, or a part of it, makes of its inputs, for shifts beside the image itself.

    Batch normalisation's running statistics are the image's own: shifts do not count again. For
    training, maps are computed anew on the way back instead of being kept.
    """

    def quietly(inputs: Any) -> Any:
        norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 0.0
        try:
            return score(inputs)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum

    return (
        checkpoint(quietly, inputs, use_reentrant=False)
        if torch.is_grad_enabled()
        else quietly(inputs)
    )


def _streams(scorer: Scorer) -> list[SkipNet]:
    if isinstance(scorer, LateFusion):
        return list(scorer.streams.values())  # type: ignore[arg-type]
    return [scorer]  # type: ignore[list-item]
