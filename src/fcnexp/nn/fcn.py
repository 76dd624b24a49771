"""Fully convolutional networks: trunk, head, skips, and the way back to the image's size."""

from math import log2

from torch import Tensor, nn

from fcnexp.nn.backbones.base import Backbone
from fcnexp.nn.dense import Upsampling
from fcnexp.nn.fuse import SkipSum
from fcnexp.nn.heads import Head


class SkipNet(nn.Module):
    """Coarse scores of an image: the head's, refined by the scores of finer taps.

    skips: strides of the taps that are fused, coarsest first; () is FCN-32s, (16,) FCN-16s,
    (16, 8) FCN-8s. `grid` says where the scores' cells lie. Source: fig. 3.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        num_classes: int,
        upsampling: Upsampling,
        *,
        skips: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.skips = nn.ModuleDict()
        grid = head.grid
        for stride in skips:
            skip = SkipSum(grid, backbone.taps[stride], num_classes, upsampling)
            self.skips[str(stride)] = skip
            grid = skip.grid
        self.grid = grid

    def forward(self, image: Tensor) -> Tensor:
        """Scores (N, K, h, w) of an image (N, C, H, W)."""
        taps = self.backbone(image)
        scores = self.head(taps[max(taps)])
        for stride, skip in self.skips.items():
            scores = skip(scores, taps[int(stride)])
        return scores

    def layers(self) -> dict[str, nn.Module]:
        """Layers that hold weights, by their names in the original net."""
        return self.backbone.layers() | self.head.layers() | self.score_layers()

    def score_layers(self) -> dict[str, nn.Module]:
        """The layers that score classes, `score_fr` and one `score_pool*` per skip.

        They exist in no classifier: they start at zero, and fine-tuning may train them faster.
        """
        scores = {"score_fr": self.head.layers()["score_fr"]}
        for stride, skip in self.skips.items():
            assert isinstance(skip, SkipSum)
            scores[f"score_pool{int(log2(int(stride)))}"] = skip.score
        return scores


class FCN(nn.Module):
    """A scorer of coarse cells and a dense part that makes it score every pixel."""

    def __init__(self, scorer: SkipNet, dense: nn.Module) -> None:
        super().__init__()
        self.scorer, self.dense = scorer, dense

    def forward(self, image: Tensor) -> Tensor:
        """Scores (N, K, H, W) of an image (N, C, H, W)."""
        return self.dense(self.scorer, image)


class OneStream(nn.Module):
    """A net on one stack of input fields (`modality=rgb`, or several fields fused early)."""

    def __init__(self, net: FCN, field: str) -> None:
        super().__init__()
        self.net, self.field = net, field

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Scores (N, K, H, W) of inputs in network space, each (N, C, H, W), by field."""
        return self.net(inputs[self.field])

    def layers(self) -> dict[str, nn.Module]:
        """Layers that hold weights, by their names in the original net."""
        return self.net.scorer.layers()

    def score_layers(self) -> dict[str, nn.Module]:
        """The layers that score classes."""
        return self.net.scorer.score_layers()
