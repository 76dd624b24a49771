"""From input fields by name to one net, or to one net per field with averaged scores."""

from typing import Protocol

import torch
from torch import Tensor, nn

from fcnexp.nn.backbones.base import Backbone
from fcnexp.nn.dense.upsampling import Upsampling
from fcnexp.nn.fcn import FCN
from fcnexp.nn.geometry import Grid
from fcnexp.nn.heads import Head


class Stream(Protocol):
    """A net on one field's image: a `SkipNet` or a `DeconvNet`, both `nn.Module`s.

    grid: where its scores lie. skips: strides of fused taps, as text.
    """

    grid: Grid
    backbone: Backbone
    head: Head
    skips: nn.ModuleDict

    def __call__(self, image: Tensor) -> Tensor:
        """Scores (N, K, h, w) of an image (N, C, H, W)."""
        ...

    def layers(self) -> dict[str, nn.Module]:
        """Layers that hold weights, by their names in the original net."""
        ...

    def score_layers(self) -> dict[str, nn.Module]:
        """Those of them that score classes."""
        ...

    def upsamplings(self) -> dict[str, Upsampling]:
        """Interpolations between skips by original name."""
        ...

    def scales(self) -> dict[str, tuple[int, float]]:
        """Constants on taps by original name: channels and value."""
        ...


class LateFusion(nn.Module):
    """Mean of the coarse scores of several streams, each a net on its own channels of the image.

    streams: a net by the name of its field; channels: how many each takes, in that order.
    The reference net weighs two streams 0.5 each, where the paper says that scores are summed.
    Source: nyud-fcn32s-color-hha (score_fused).
    """

    def __init__(self, streams: dict[str, Stream], channels: tuple[int, ...]) -> None:
        super().__init__()
        self.streams, self.channels = nn.ModuleDict(streams), channels  # type: ignore[arg-type]  # Modules

    @property
    def grid(self) -> Grid:
        """Where the scores' cells lie: in all streams alike, since one factory made them."""
        return next(iter(self.streams.values())).grid  # type: ignore[return-value]  # a SkipNet's

    def forward(self, image: Tensor) -> Tensor:
        """Scores (N, K, h, w) of all streams' channels stacked (N, C, H, W)."""
        parts = image.split(self.channels, dim=1)
        weight = 1 / len(parts)
        first, *others = zip(self.streams.values(), parts, strict=True)
        scores = weight * first[0](first[1])
        for stream, part in others:
            scores = scores + weight * stream(part)
        return scores


class Network(nn.Module):
    """A net ready for use: takes input fields by name, returns scores of every pixel.

    fields: what it takes, in the order in which they are stacked; streams: which of them share a
    net (see `inputs.InputRecipe`). outputs: number of classes by task; SIFT Flow has two, whose
    scores are stacked, all others one.
    """

    def __init__(
        self, net: FCN, streams: tuple[tuple[str, ...], ...], outputs: dict[str, int]
    ) -> None:
        super().__init__()
        self.net, self.streams, self.outputs = net, streams, outputs
        self.fields = tuple(name for stream in streams for name in stream)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Scores (N, K, H, W) of inputs in network space, each (N, C, H, W), by field.

        Raises ValueError naming a field that is missing or of another kind.
        """
        missing = [name for name in self.fields if name not in inputs]
        if missing:
            raise ValueError(
                f"inputs has {', '.join(inputs) or 'nothing'}; this net takes "
                f"{', '.join(self.fields)}"
            )
        for name in self.fields:
            if inputs[name].ndim != 4 or not inputs[name].is_floating_point():
                raise ValueError(
                    f"{name}: {inputs[name].dtype} {tuple(inputs[name].shape)}; a net takes floats "
                    "(N, C, H, W) in network space"
                )
        if len(self.fields) == 1:
            return self.net(inputs[self.fields[0]])
        return self.net(stack([inputs[name] for name in self.fields]))

    def scorers(self) -> dict[str, Stream]:
        """The net of each stream, by the stream's first field."""
        scorer = self.net.scorer
        if isinstance(scorer, LateFusion):
            return dict(scorer.streams.items())  # type: ignore[arg-type]  # Streams all
        return {self.fields[0]: scorer}  # type: ignore[dict-item]  # a Stream

    def score_layers(self) -> list[nn.Module]:
        """The layers that score classes, of all streams."""
        return [layer for net in self.scorers().values() for layer in net.score_layers().values()]


def stack(fields: list[Tensor]) -> Tensor:
    """Fields (N, C, H, W) stacked by channel. Raises ValueError where their sizes differ."""
    sizes = [tuple(field.shape[-2:]) for field in fields]  # no set: exported, sizes are symbols
    if any(size != sizes[0] for size in sizes):
        raise ValueError(f"inputs of different sizes: {', '.join(map(str, sorted(set(sizes))))}")
    return torch.cat(fields, dim=1)
