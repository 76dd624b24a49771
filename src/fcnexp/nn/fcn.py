"""Fully convolutional networks: trunk, head, skips, and the way back to the image's size."""

from collections.abc import Callable, Sequence
from math import log2

from torch import Tensor, nn

from fcnexp.nn.backbones.base import Backbone
from fcnexp.nn.dense.upsampling import MakeUpsampling, Scorer, Upsampling
from fcnexp.nn.fast.border import trunk_maps
from fcnexp.nn.fuse import FUSIONS, Skip
from fcnexp.nn.heads import Head
from fcnexp.nn.layer_probe import cut

TRAINED = ("all", "scores")


class SkipNet(nn.Module):
    """Coarse scores of an image: the head's, refined by the scores of finer taps.

    head: from the number of classes to a head on the backbone's deepest tap.
    deepest: stride of the tap that the head scores; None: the deepest there is. What lies behind
        it is cut off the backbone: FCN-pool4 is 16, FCN-pool3 is 8, without skips (PAMI).
    skips: strides of the taps that are fused, coarsest first; () is FCN-32s, (16,) FCN-16s,
        (16, 8) FCN-8s.
    scales: constant on each of these taps; 1 but for the nets trained at once (PAMI sec. 4.2).
    fusion: `sum`, or `max` (sec. 4.2: made learning difficult).
    trained: `all`, or `scores`: the layers that score classes learn, all else stays as it was
        loaded (FCN-32s-fixed).
    `grid` says where the scores' cells lie. Source: fig. 3. Raises ValueError.
    """

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
                raise ValueError(f"deepest={deepest}: that is this backbone's as it is; say null")
            cut(backbone, deepest)
        refuse_missing_tap(skips, backbone)
        if len(scales) != len(skips):
            raise ValueError(f"scales={list(scales)}: one for each of skips={list(skips)}")
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
        """Scores (N, K, h, w) of an image (N, C, H, W)."""
        taps = trunk_maps(self.backbone, image, {max(self.backbone.taps), *map(int, self.skips)})
        return self.score(taps)

    def score(self, taps: dict[int, Tensor]) -> Tensor:
        """Scores (N, K, h, w) of the backbone's maps, each (N, C, h', w'), by stride."""
        scores = self.head(taps[max(taps)])
        for stride, skip in self.skips.items():
            scores = skip(scores, taps[int(stride)])
        return scores

    def train(self, mode: bool = True) -> "SkipNet":
        """Set the mode; a trunk that does not learn keeps its statistics, too."""
        super().train(mode)
        if self.only_scores:
            self.backbone.train(False)  # type: ignore[attr-defined]  # it is a Module
        return self

    def layers(self) -> dict[str, nn.Module]:
        """Layers that hold weights, by their names in the original net."""
        return self.backbone.layers() | self.head.layers() | self.score_layers()

    def score_layers(self) -> dict[str, nn.Module]:
        """The layers that score classes, `score_fr` and one `score_pool*` per skip.

        They exist in no classifier: they start at zero, and fine-tuning may train them faster.
        """
        scores = {"score_fr": self.head.layers()["score_fr"]}
        for stride, skip in self.skips.items():
            assert isinstance(skip, Skip)
            scores[f"score_{pool_name(int(stride))}"] = skip.score
        return scores

    def upsamplings(self) -> dict[str, Upsampling]:
        """The upsamplings between skips by original name: `upscore2`, then `upscore_pool4` ..."""
        named, before = {}, None
        for stride, skip in self.skips.items():
            assert isinstance(skip, Skip)
            name = "upscore2" if before is None else f"upscore_{pool_name(before)}"
            named[name] = skip.upsampling
            before = int(stride)
        return named

    def scales(self) -> dict[str, tuple[int, float]]:
        """Constants on taps by original name, `scale_pool4` ...: channels and value."""
        return {
            f"scale_{pool_name(int(stride))}": (self.backbone.taps[int(stride)].channels, s.scale)
            for stride, s in self.skips.items()
            if isinstance(s, Skip) and s.scale != 1
        }


class FCN(nn.Module):
    """A scorer of coarse cells and a dense part that makes it score every pixel."""

    def __init__(self, scorer: Scorer, dense: nn.Module) -> None:
        super().__init__()
        self.scorer, self.dense = scorer, dense

    def forward(self, image: Tensor) -> Tensor:
        """Scores (N, K, H, W) of an image (N, C, H, W)."""
        return self.dense(self.scorer, image)


def refuse_missing_tap(skips: Sequence[int], backbone: Backbone) -> None:
    """Raise ValueError where a skip has no tap to take, or leaves one out."""
    *finer, deepest = sorted(backbone.taps)
    halves = [deepest // 2**i for i in range(1, len(skips) + 1)]
    missing = [stride for stride in skips if stride not in finer]
    if missing:
        taps = ", ".join(str(stride) for stride in reversed(finer)) or "none"
        models = ", ".join(f"fcn{stride}s" for stride in (deepest, *reversed(finer)))
        # The models' names are of trunks that go down to 32.
        hint = (
            f"its models are {models}" if deepest == 32 else "model.skips and model.scales say so"
        )
        raise ValueError(
            f"skips={list(skips)}: this backbone has no tap of stride {missing[0]} to fuse under "
            f"the one of {deepest}; it has {taps}: {hint}"
        )
    if list(skips) != halves:
        raise ValueError(
            f"skips={list(skips)}: each fusion doubles the map, so that they go {halves}"
        )


def pool_name(stride: int) -> str:
    """What Caffe's nets call the map of a stride: `pool4` for 16."""
    return f"pool{int(log2(stride))}"
