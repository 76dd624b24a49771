"""What whole nets have in common: they score every pixel without a head or dense part of ours."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.nn.dense.upsampling import Scorer, Upsampling, full_precision
from fcnexp.nn.geometry import IMAGE


class Encoder(nn.Module):
    """The part of a whole net that published classifiers share, as `Backbone` has it, without taps.

    imagenet: its published weights, which a subclass loads; None if there are none.
    """

    fc6 = (1, 0)
    pads_image = False
    modality = "rgb_torchvision"  # the input that published weights take
    imagenet: Any = None

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk, self.taps = trunk, dict[int, Any]()

    def forward(self, image: Tensor) -> Any:
        """Return the features of an image (N, C, H, W), as the library passes them on."""
        return self.trunk(image)

    def layers(self) -> dict[str, nn.Module]:
        """Return {}: there are no Caffe layer names."""
        return {}


class Decoder(nn.Module):
    """What follows the encoder in a whole net, by the library's names."""

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        self.grid, self.channels = IMAGE, 0
        for name, each in parts.items():
            self.add_module(name, each)

    def layers(self) -> dict[str, nn.Module]:
        """Return the parts, all of which are new with ImageNet weights."""
        return dict(self.named_children())


class WholeNet(nn.Module):
    """A net of another library as a stream: its scores are those of pixels.

    backbone, head: its encoder and the rest. scoring: names of its last layers, and their places in
    the head. renamed: pairs of the beginnings of our names of its tensors and of the library's.
    side: weight and scores (N, K, H, W) of each auxiliary head in the last training pass.
    """

    grid = IMAGE

    def __init__(
        self,
        backbone: Encoder,
        head: Decoder,
        scoring: dict[str, str],
        renamed: Sequence[tuple[str, str]],
    ) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.skips = nn.ModuleDict()  # none
        self.side: list[tuple[float, Tensor]] = []
        self._scoring, self._renamed = dict(scoring), tuple(renamed)

    def layers(self) -> dict[str, nn.Module]:
        """Return the score layers: no others have names in an original net."""
        return self.score_layers()

    def score_layers(self) -> dict[str, nn.Module]:
        """Return the layers that score classes; with an auxiliary head, also its own."""
        return {name: self.head.get_submodule(path) for name, path in self._scoring.items()}

    def upsamplings(self) -> dict[str, Upsampling]:
        """Return {}: nothing between skips."""
        return {}

    def scales(self) -> dict[str, tuple[int, float]]:
        """Return {}: no tap is scaled."""
        return {}

    def name_in_library(self, name: str) -> str:
        """Return the library's name of a tensor in the state dict of its own net."""
        ours, theirs = next((o, t) for o, t in self._renamed if name.startswith(o))
        return theirs + name.removeprefix(ours)


class AsScored(nn.Module):
    """The dense part of whole nets: their scores are those of pixels already."""

    def __init__(self, num_classes: int, scorer: Scorer) -> None:
        super().__init__()

    def forward(self, scorer: Scorer, image: Tensor) -> Tensor:
        """Return scores (N, K, H, W) of an image (N, C, H, W)."""
        return scorer(image)


def within_model() -> None:
    """Stand for a backbone or head that the model has itself; never called."""


def resized(scores: Tensor, size: Sequence[int]) -> Tensor:
    """Return scores (N, K, h, w) at a size, bilinearly as torchvision's nets, in float32 or 64."""
    with full_precision(scores):
        scores = scores if scores.dtype == torch.float64 else scores.float()
        return F.interpolate(scores, size=tuple(size), mode="bilinear", align_corners=False)


def with_channels(net: nn.Module, channels: int) -> None:
    """Give a net's first convolution another number of input channels, with new weights.

    Raises ValueError if it has no convolution that takes three channels.
    """
    found = first_convolution(net)
    if found is None:
        raise ValueError(f"takes three channels only, but the modality has {channels}")
    path, first = found
    if first.in_channels == channels:
        return
    made = nn.Conv2d(
        channels, first.out_channels, first.kernel_size, first.stride, first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )  # fmt: skip
    parent, _, last = path.rpartition(".")
    setattr(net.get_submodule(parent), last, made)


def first_convolution(net: nn.Module) -> tuple[str, nn.Conv2d] | None:
    """Return name and module of the convolution on the image, None if the first is another."""
    path, first = next((n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d))
    plain = first.groups == 1 and first.dilation == (1, 1) and type(first) is nn.Conv2d
    return (path, first) if plain else None
