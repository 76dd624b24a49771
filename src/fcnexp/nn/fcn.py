"""Fully convolutional networks: trunk, head, skips and upsampling to the image's size."""

from collections.abc import Callable, Sequence
from math import log2
from typing import cast

from torch import Tensor, nn

from fcnexp.nn.backbones.base import Backbone
from fcnexp.nn.dense.upsampling import MakeUpsampling, Scorer, Upsampling
from fcnexp.nn.fast.border import trunk_maps
from fcnexp.nn.fuse import FUSIONS, Skip
from fcnexp.nn.heads import Head
from fcnexp.nn.layer_probe import cut

TRAINED = ("all", "scores")


class SkipNet(nn.Module):
    """Coarse scores of an image: the head's scores, refined by scores of finer taps.

    head: builds a head on the backbone's deepest tap, given the number of classes.
    deepest: stride of the tap that the head scores; None uses the backbone's deepest. Deeper layers
        are removed: FCN-pool4 is 16 and FCN-pool3 is 8, both without skips (PAMI).
    skips: strides of the fused taps, coarsest first; () is FCN-32s, (16,) FCN-16s, (16, 8) FCN-8s.
    scales: constant on each of these taps; 1 except in the nets trained at once (PAMI sec. 4.2).
    fusion: `sum`, or `max` (sec. 4.2: made learning difficult).
    trained: `all`, or `scores`, which trains only the score layers (FCN-32s-fixed).
    `grid` holds the positions of the scores. Source: fig. 3. Raises ValueError.
    """

    mixed_sizes = True

    def __init__(
        self,
        backbone: Backbone,
        head: Callable[[int], Head],
        num_classes: int,
        upsampling: MakeUpsampling,
        *,
        deepest: int | None,
        skips: tuple[int, ...],
        scales: tuple[float, ...],
        fusion: str,
        trained: str,
    ) -> None:
        super().__init__()
        for name, value, allowed in (("trained", trained, TRAINED), ("fusion", fusion, FUSIONS)):
            if value not in allowed:
                raise ValueError(f"{name}={value}: allowed are {' and '.join(allowed)}")
        if deepest is not None:
            if deepest == max(backbone.taps):
                raise ValueError(
                    f"deepest={deepest}: already this backbone's deepest tap; set deepest=null"
                )
            cut(backbone, deepest)
        refuse_missing_tap(skips, backbone)
        if len(scales) != len(skips):
            raise ValueError(f"scales={list(scales)}: give one for each of skips={list(skips)}")
        self.backbone, self.head = backbone, head(num_classes)
        self.skips = nn.ModuleDict()
        grid = self.head.grid
        for stride, scale in zip(skips, scales, strict=True):
            tap = backbone.taps[stride]
            skip = Skip(grid, tap, num_classes, upsampling, fusion=fusion, scale=scale)
            self.skips[str(stride)] = skip
            grid = skip.grid
        self.grid = grid
        self.only_scores = trained == "scores"
        if self.only_scores:
            self.requires_grad_(False)
            for layer in self.score_layers().values():
                layer.requires_grad_(True)

    def forward(self, image: Tensor) -> Tensor:
        """Return scores (N, K, h, w) of an image (N, C, H, W)."""
        taps = trunk_maps(self.backbone, image, {max(self.backbone.taps), *map(int, self.skips)})
        return self.score(taps)

    def score(self, taps: dict[int, Tensor]) -> Tensor:
        """Return scores (N, K, h, w) of the backbone's maps (N, C, h', w') by stride."""
        scores = self.head(taps[max(taps)])
        for stride, skip in self.skips.items():
            scores = skip(scores, taps[int(stride)])
        return scores

    def train(self, mode: bool = True) -> "SkipNet":
        """Set the mode; a frozen trunk stays in eval mode and keeps its statistics."""
        super().train(mode)
        if self.only_scores:
            self.backbone.train(False)  # type: ignore[attr-defined]  # it is a Module
        return self

    def layers(self) -> dict[str, nn.Module]:
        """Return the layers with weights by their names in the original net."""
        return self.backbone.layers() | self.head.layers() | self.score_layers()

    def score_layers(self) -> dict[str, nn.Module]:
        """Return the score layers: `score_fr` and one `score_pool*` per skip.

        No classifier has them: they start at zero, and fine-tuning may train them faster.
        """
        fused = {f"score_{pool_name(stride)}": skip.score for stride, skip in self._by_stride()}
        return {"score_fr": self.head.layers()["score_fr"], **fused}

    def upsamplings(self) -> dict[str, Upsampling]:
        """Return the upsamplings between skips by original name: `upscore2`, `upscore_pool4` ..."""
        skips = self._by_stride()
        names = ["upscore2", *(f"upscore_{pool_name(stride)}" for stride, _ in skips)]
        return {name: skip.upsampling for name, (_, skip) in zip(names, skips, strict=False)}

    def scales(self) -> dict[str, tuple[int, float]]:
        """Return constants on taps by original name, `scale_pool4` ...: channels and value."""
        taps = self.backbone.taps
        return {
            f"scale_{pool_name(stride)}": (taps[stride].channels, skip.scale)
            for stride, skip in self._by_stride()
            if skip.scale != 1
        }

    def _by_stride(self) -> list[tuple[int, Skip]]:
        return [(int(stride), cast(Skip, skip)) for stride, skip in self.skips.items()]


class FCN(nn.Module):
    """A scorer of coarse cells, and a dense method that turns it into scores of every pixel."""

    mixed_sizes = True

    def __init__(self, scorer: Scorer, dense: nn.Module) -> None:
        super().__init__()
        self.scorer, self.dense = scorer, dense

    def forward(self, image: Tensor) -> Tensor:
        """Return scores (N, K, H, W) of an image (N, C, H, W)."""
        return self.dense(self.scorer, image)


def refuse_missing_tap(skips: Sequence[int], backbone: Backbone) -> None:
    """Raise ValueError if a skip has no tap, or if a tap in between is left out."""
    *finer, deepest = sorted(backbone.taps)
    halves = [deepest // 2**i for i in range(1, len(skips) + 1)]
    missing = [stride for stride in skips if stride not in finer]
    if missing:
        others = ", ".join(map(str, reversed(finer)))
        models = ", ".join(f"fcn{stride}s" for stride in (deepest, *reversed(finer)))
        # The model names refer to trunks with a stride of 32.
        hint = f"choose model={models}" if deepest == 32 else "set model.skips and model.scales"
        raise ValueError(
            f"skips={list(skips)}: this backbone has no tap of stride {missing[0]} to fuse below "
            f"its deepest, {deepest}; it has {others or 'no other'}: {hint}"
        )
    if list(skips) != halves:
        raise ValueError(
            f"skips={list(skips)}: each fusion doubles the map, so skips must be {halves}"
        )


def pool_name(stride: int) -> str:
    """Return the Caffe nets' name of the map of this stride: `pool4` for 16."""
    return f"pool{int(log2(stride))}"
