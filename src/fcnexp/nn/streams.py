"""Nets that take input fields by name: one net for all, or one per field, scores averaged."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fcnexp.nn import mixed_sizes
from fcnexp.nn.backbones.base import Backbone
from fcnexp.nn.dense.upsampling import Upsampling
from fcnexp.nn.fcn import FCN
from fcnexp.nn.geometry import Grid
from fcnexp.nn.heads import Head
from fcnexp.nn.whole.parts import WholeNet


class Stream(Protocol):
    """A net for one stream's image: a `SkipNet`, `DeconvNet` or `WholeNet`, all `nn.Module`s.

    grid: positions of its scores. skips: keyed by the fused taps' strides as strings.
    """

    grid: Grid
    backbone: Backbone
    head: Head
    skips: nn.ModuleDict

    def __call__(self, image: Tensor) -> Tensor:
        """Return scores (N, K, h, w) of an image (N, C, H, W)."""
        ...

    def layers(self) -> dict[str, nn.Module]:
        """Return the layers with weights by their names in the original net."""
        ...

    def score_layers(self) -> dict[str, nn.Module]:
        """Return those of the layers that score classes."""
        ...

    def upsamplings(self) -> dict[str, Upsampling]:
        """Return the interpolations between skips by original name."""
        ...

    def scales(self) -> dict[str, tuple[int, float]]:
        """Return the constants on taps by original name: channels and value."""
        ...


class LateFusion(nn.Module):
    """Mean of the coarse scores of several streams, each applied to its own input channels.

    streams: nets by field name. channels: number that each takes, in the same order.
    Follows the reference net, which weighs two streams 0.5 each; the paper says that scores are
    summed. Source: nyud-fcn32s-color-hha (score_fused).
    """

    mixed_sizes = True

    def __init__(self, streams: dict[str, Stream], channels: tuple[int, ...]) -> None:
        super().__init__()
        self.streams, self.channels = nn.ModuleDict(streams), channels  # type: ignore[arg-type]  # Modules

    @property
    def grid(self) -> Grid:
        """Positions of the scores, the same for all streams, since one factory builds them."""
        return next(iter(self.streams.values())).grid  # type: ignore[return-value]  # a SkipNet's

    def forward(self, image: Tensor) -> Tensor:
        """Return scores (N, K, h, w); image (N, C, H, W) stacks the channels of all streams."""
        parts = image.split(self.channels, dim=1)
        weight = 1 / len(parts)
        first, *others = zip(self.streams.values(), parts, strict=True)
        scores = weight * first[0](first[1])
        for stream, part in others:
            scores = scores + weight * stream(part)
        return scores


class Network(nn.Module):
    """A complete net: takes input fields by name and scores every pixel.

    streams: fields that share a net, by name (see `inputs.InputRecipe`). fields: all of these, in
    stacking order. outputs: number of classes by task; SIFT Flow has two tasks, whose scores are
    stacked; the other data sets have one.
    """

    mixed_sizes = True

    def __init__(
        self, net: FCN, streams: tuple[tuple[str, ...], ...], outputs: dict[str, int]
    ) -> None:
        super().__init__()
        self.net, self.streams, self.outputs = net, streams, outputs
        self.fields = tuple(name for stream in streams for name in stream)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return scores (N, K, H, W) of inputs in network space, each (N, C, H, W), by field.

        Raises ValueError naming a field that is missing, not 4-D or not floating point.
        """
        missing = [name for name in self.fields if name not in inputs]
        if missing:
            raise ValueError(
                f"inputs has {', '.join(inputs) or 'no field'}; this net takes "
                f"{', '.join(self.fields)}"
            )
        for name in self.fields:
            if inputs[name].ndim != 4 or not inputs[name].is_floating_point():
                raise ValueError(
                    f"{name} is {inputs[name].dtype} {tuple(inputs[name].shape)}; a net takes "
                    "floats (N, C, H, W) in network space"
                )
        if len(self.fields) == 1:
            return self.net(inputs[self.fields[0]])
        return self.net(stack([inputs[name] for name in self.fields]))

    def score_each(self, inputs: dict[str, Tensor], sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Return scores (N, K, H, W) of a batch whose images have these sizes, padded with 0.

        Each image has the scores and gradients that it has alone, whatever the sizes of the others;
        those of the padding mean nothing. The exception is training with batch normalisation,
        whose statistics depend on all images in any case: it sees the padding, too.
        """
        norms = [m for m in self.modules() if isinstance(m, nn.BatchNorm2d)]
        if norms and self.training:
            return self(inputs)
        return mixed_sizes.score_each(self, inputs, sizes)

    def scorers(self) -> dict[str, Stream]:
        """Return each stream's net by the stream's first field."""
        scorer = self.net.scorer
        if isinstance(scorer, LateFusion):
            return dict(scorer.streams.items())  # type: ignore[arg-type]  # all are Streams
        return {self.fields[0]: scorer}  # type: ignore[dict-item]  # a Stream

    def side_scores(self) -> list[tuple[float, Tensor]]:
        """Return weight and scores (N, K, H, W) of each auxiliary head in the last training pass.

        With several streams, each weight is divided by their number, as that of the scores is.
        """
        nets: list[Any] = list(self.scorers().values())
        nets = [net for net in nets if isinstance(net, WholeNet)]
        return [(weight / len(nets), scores) for net in nets for weight, scores in net.side]

    def score_layers(self) -> list[nn.Module]:
        """Return the score layers of all streams."""
        return [layer for net in self.scorers().values() for layer in net.score_layers().values()]


def stack(fields: list[Tensor]) -> Tensor:
    """Stack fields (N, C, H, W) along channels. Raises ValueError if their sizes differ."""
    sizes = [tuple(field.shape[-2:]) for field in fields]  # no set: in an export they are symbols
    if any(size != sizes[0] for size in sizes):
        raise ValueError(f"inputs differ in size: {', '.join(map(str, sorted(set(sizes))))}")
    return torch.cat(fields, dim=1)
