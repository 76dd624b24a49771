"""Shift-and-stitch: scores of all shifts of an image, interlaced to a finer grid. Source: sec. 3.2.

A scorer of stride f scores every f-th pixel. Shifting the image by r pixels scores the pixels r
further on, so f x f shifts score every pixel at the centre of its own receptive field.
"""

from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fcnexp.nn.dense.rarefaction import copy_sharing_weights
from fcnexp.nn.dense.upsampling import Scorer, Upsampling
from fcnexp.nn.fcn import SkipNet
from fcnexp.nn.geometry import IMAGE, Grid
from fcnexp.nn.layer_probe import bytes_of, output_size, steps
from fcnexp.nn.pooling import MaxPool
from fcnexp.nn.streams import LateFusion


class ShiftAndStitch(nn.Module):
    """Scores of every `stride`-th pixel by shifting, interpolated if stride is above 1.

    Shifted images are padded with 0, the mean colour. Scores are repeated beyond the outermost
    cells.
    shared: compute what shifts have in common once, by keeping the cells that a stride would drop
        as extra batch entries; otherwise each shift runs through the whole scorer, as in the paper.
    memory: GiB for the maps of one pass; sets how many shifts run in one batch.
    Raises ValueError if stride, shared or memory does not suit the scorer.
    """

    def __init__(
        self, num_classes: int, scorer: Scorer, *, stride: int, shared: bool, memory: float
    ) -> None:
        super().__init__()
        self.stitch = Stitch(scorer.grid, stride, shared=shared, memory=memory)
        if shared and not all(isinstance(s, SkipNet) for s in _streams(scorer)):
            raise ValueError("shared=true does not support nets that unpool; try shared=false")
        grid = self.stitch.grid
        self.upsampling = Upsampling(
            num_classes, grid, int(grid.step), IMAGE, edges="repeat", learned=False
        )

    def forward(self, scorer: Scorer, image: Tensor) -> Tensor:
        """Scores (N, K, H, W) of an image (N, C, H, W)."""
        cells = self.stitch(scorer(image), scorer, image)
        return self.upsampling(cells, (0, 0), (image.shape[-2], image.shape[-1]))


class Stitch(nn.Module):
    """Scores on a finer grid than the scorer's, by shifting; see `ShiftAndStitch`.

    The scorer's own cells keep their scores of the unshifted image.
    """

    def __init__(self, coarse: Grid, stride: int, *, shared: bool, memory: float) -> None:
        super().__init__()
        step = int(coarse.step)
        if not 1 <= stride <= step or step % stride:
            divisors = [s for s in range(1, step + 1) if step % s == 0]
            raise ValueError(
                f"stride={stride}: the scorer's stride is {step}, allowed are "
                f"{', '.join(map(str, divisors))}"
            )
        if memory <= 0:
            raise ValueError(f"memory={memory}: must be above 0, in GiB for the maps of one pass")
        self.step, self.stride, self.shared, self.memory = step, stride, shared, memory
        self.grid = Grid(stride, coarse.origin)
        self.description = f"{(step // stride) ** 2} shifts, interlaced; their cost is not counted"

    def forward(self, plain: Tensor, scorer: Scorer, image: Tensor) -> Tensor:
        """Scores (N, K, m h, m w), m = step / stride; plain: unshifted scores (N, K, h, w)."""
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
        """Run every shift through the whole scorer.

        All shifts are padded to one size so that they can form batches: the image plus one cell of
        the trunk's deepest map. Each starts that cell minus its shift before the image, so skips
        line up as on the unshifted image. Cells before the image's first cell are dropped.
        """
        deepest = int(max(t.grid.step for s in _streams(scorer) for t in s.backbone.taps.values()))
        leads = [deepest - r for r in range(0, self.step, self.stride)]
        first, (height, width) = deepest // self.step, size
        longer = self._padding(scorer, image, deepest, (first + height, first + width))
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

    def _padding(self, scorer: Scorer, image: Tensor, deepest: int, cells: tuple[int, int]) -> int:
        """Number of pixels to add to each side of an image to get at least `cells` scores.

        One step of the deepest map, or more if the image is smaller than a window, so that adding
        one step gives no further cell.
        """
        longer = deepest
        while True:
            module: nn.Module = scorer  # type: ignore[assignment]  # it is a Module
            height, width = output_size(module, F.pad(image, (0, longer, 0, longer)))
            if height >= cells[0] and width >= cells[1]:
                return longer
            longer += deepest

    def _batches(self, images: list[Tensor], scorer: Scorer) -> Iterator[list[Tensor]]:
        """Yield batches of as many images as fit in memory."""
        together = self._fit(bytes_of(scorer, images[0]))  # type: ignore[arg-type]  # a Module
        for start in range(0, len(images), together):
            yield images[start : start + together]

    def _split(self, scorer: Scorer, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Run all shifts in one pass, on an image padded by one step for the last cells."""
        image = F.pad(image, (0, self.step - 1, 0, self.step - 1))
        streams = _streams(scorer)
        parts = image.split(scorer.channels, dim=1) if isinstance(scorer, LateFusion) else [image]
        dense = [self._split_one(s, part) for s, part in zip(streams, parts, strict=True)]
        return torch.stack(dense).mean(0)

    def _split_one(self, scorer: SkipNet, image: Tensor) -> Tensor:
        trunk: Any = copy_sharing_weights(scorer.backbone)  # type: ignore[type-var]  # a Module
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
        """Number of items of this size, in bytes, that fit in memory; at least 1."""
        return max(1, int(self.memory * 2**30 / size))


def interlace(parts: Tensor, factor: int) -> Tensor:
    """Interlace factor^2 score maps per image, (factor^2 N, K, h, w) to (N, K, factor h, factor w).

    Part `factor * row + column` of an image starts in that row and column.
    """
    return F.pixel_shuffle(torch.stack(parts.chunk(factor**2), dim=2).flatten(1, 2), factor)


def split(maps: Tensor, factor: int) -> Tensor:
    """Undo `interlace`: (N, C, h, w) to (factor^2 N, C, h', w'), zero-padded at the end."""
    height, width = maps.shape[-2:]
    maps = F.pad(maps, (0, -width % factor, 0, -height % factor))
    shifts = product(range(factor), range(factor))
    return torch.cat([maps[..., row::factor, column::factor] for row, column in shifts])


def _split_at_strides(trunk: nn.Module, step: int, stride: int) -> list[int]:
    """Make a trunk keep all cells from `stride` to `step`, as shifts; return the factors."""
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
            raise ValueError(
                f"shared=true does not support {type(layer).__name__}, which has a stride; "
                "try shared=false"
            )
        layer.register_forward_hook(lambda _, args, out, factor=factor: split(out, factor))
    if prod(factors.values()) != step // stride:
        raise ValueError(
            f"shared=true does not support {type(trunk).__name__}: not all of its strides are "
            "convolutions and poolings of its own; try shared=false"
        )
    return [factors[taken] for taken in sorted(factors)]


def _run(net: nn.Module, score: Callable[[Any], Any], inputs: Any) -> Any:
    """Run a net, or a part of it, on shifts of an image.

    Shifts do not update batch normalisation's running statistics. In training, maps are recomputed
    in the backward pass instead of being kept (gradient checkpointing).
    """

    def without_statistics(inputs: Any) -> Any:
        norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 0.0
        try:
            return score(inputs)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum

    if torch.is_grad_enabled():
        return checkpoint(without_statistics, inputs, use_reentrant=False)
    return without_statistics(inputs)


def _streams(scorer: Scorer) -> list[SkipNet]:
    if isinstance(scorer, LateFusion):
        return list(scorer.streams.values())  # type: ignore[arg-type]
    return [scorer]  # type: ignore[list-item]
