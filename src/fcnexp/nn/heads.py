"""Heads: layers that turn the trunk's deepest map into class scores."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.nn.backbones.base import Backbone
from fcnexp.nn.fast.convolution import conv_relu
from fcnexp.nn.geometry import Grid


class Head(Protocol):
    """An `nn.Module` that maps the deepest tap (N, C, h, w) to scores (N, K, h', w').

    grid: positions of its scores on the image. channels: width of the features it scores; a head
    built with num_classes=None has no score layer and returns these features.
    """

    grid: Grid
    channels: int

    def __call__(self, maps: Tensor) -> Tensor:
        """Return scores, or features if there is no score layer."""
        ...

    def layers(self) -> dict[str, nn.Module]:
        """Return the layers with weights by their names in the original net."""
        ...


class FcHead(nn.Module):
    """The classifier's fully connected layers as convolutions: fc6, fc7, score_fr.

    fc6's kernel comes from the backbone (7 for VGG16, 6 for AlexNet); fc7 and score_fr are 1x1.
    channels: outputs of fc6 and fc7, 4096 in the paper. dropout: probability after each.
    batch_norm: batch normalisation after both, as in DeconvNet.
    Source: sec. 4.1; voc-fcn32s in nets.yaml.
    """

    mixed_sizes = True

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int | None,
        *,
        channels: int,
        dropout: float,
        batch_norm: bool,
    ) -> None:
        super().__init__()
        _check_probability(dropout)
        tap = backbone.taps[max(backbone.taps)]
        kernel, pad = backbone.fc6
        self.fc6 = nn.Conv2d(tap.channels, channels, kernel, padding=pad)
        self.fc7 = nn.Conv2d(channels, channels, 1)
        if batch_norm:
            self.bn6, self.bn7 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.score_fr = nn.Conv2d(channels, num_classes, 1) if num_classes else None
        self.channels, self.dropout = channels, dropout
        self.grid = tap.grid.conv(kernel, 1, pad)

    def forward(self, maps: Tensor) -> Tensor:
        """Return scores (N, K, h', w') of the deepest map (N, C, h, w)."""
        window = (self.fc6.kernel_size[0] - 1) * self.fc6.dilation[0] + 1
        short = [torch.sym_max(0, window - side) for side in maps.shape[-2:]]
        # Images smaller than the window need padding if the trunk pads less than 100. An exported
        # graph has no branches, so it always pads, by 0 if need be.
        if torch.compiler.is_exporting() or any(short):
            maps = F.pad(maps, (0, short[1], 0, short[0]))  # type: ignore[arg-type]  # SymInts
        fc6 = F.dropout(self._active(self.fc6, "bn6", maps), self.dropout, self.training)
        fc7 = F.dropout(self._active(self.fc7, "bn7", fc6), self.dropout, self.training)
        return fc7 if self.score_fr is None else self.score_fr(fc7)

    def _active(self, layer: nn.Conv2d, norm: str, maps: Tensor) -> Tensor:
        """Apply a layer, its batch normalisation if it has one, and ReLU."""
        if hasattr(self, norm):
            return F.relu(self.get_submodule(norm)(layer(maps)), inplace=True)
        return conv_relu(layer, maps)

    def layers(self) -> dict[str, nn.Module]:
        """Return the layers by original name."""
        score = {} if self.score_fr is None else {"score_fr": self.score_fr}
        return {"fc6": self.fc6, "fc7": self.fc7, **score}

    def norms(self) -> dict[str, nn.BatchNorm2d]:
        """Return the batch normalisations by DeconvNet's names."""
        return {"bnfc6": self.bn6, "bnfc7": self.bn7} if hasattr(self, "bn6") else {}


class LinearHead(nn.Module):
    """A single 1x1 convolution that scores the deepest map; on VGG16 this is PAMI's FCN-pool5.

    dropout: probability on the map's values, 0.4 in the GoogLeNet classifier.
    """

    mixed_sizes = True

    def __init__(self, backbone: Backbone, num_classes: int | None, *, dropout: float) -> None:
        super().__init__()
        _check_probability(dropout)
        tap = backbone.taps[max(backbone.taps)]
        self.score_fr = nn.Conv2d(tap.channels, num_classes, 1) if num_classes else None
        self.channels, self.dropout = tap.channels, dropout
        self.grid = tap.grid

    def forward(self, maps: Tensor) -> Tensor:
        """Return scores (N, K, h, w) of the deepest map (N, C, h, w)."""
        maps = F.dropout(maps, self.dropout, self.training)
        return maps if self.score_fr is None else self.score_fr(maps)

    def layers(self) -> dict[str, nn.Module]:
        """Return the layers by original name."""
        return {} if self.score_fr is None else {"score_fr": self.score_fr}


def _check_probability(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout}: must be a probability of at least 0 and below 1")
