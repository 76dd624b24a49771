"""Input recipe: the conversion of stored values to network input that a net was trained with."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from fcnexp.nn.bands import Bands


class FieldRecipe(Protocol):
    """Conversion of one field of a sample to network input."""

    @property
    def channels(self) -> int:
        """Number of channels in network space."""
        ...

    def apply(self, stored: Tensor) -> Tensor:
        """Return network input, float32 (N, channels, H, W), for stored values (N, C, H, W)."""
        ...


@dataclass(frozen=True)
class Colour:
    """Channel order, mean and scale that a net's weights were trained with.

    order: `bgr` (Caffe's nets) or `rgb` (torchvision's).
    mean, std: per channel in that order, on the 0..255 scale. Network space is `(x - mean) / std`.
    """

    order: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    channels: ClassVar[int] = 3

    def __post_init__(self) -> None:
        """Raise ValueError if the order is unknown."""
        if self.order not in ("bgr", "rgb"):
            raise ValueError(f"order={self.order}: allowed are bgr and rgb")
        if len(self.mean) != 3 or len(self.std) != 3 or not min(self.std) > 0:
            raise ValueError(
                f"mean={list(self.mean)}, std={list(self.std)}: give three each, std above 0"
            )
        object.__setattr__(self, "mean", tuple(self.mean))
        object.__setattr__(self, "std", tuple(self.std))

    def apply(self, stored: Tensor) -> Tensor:
        """Return network input for an image, uint8 (N, 3, H, W) in RGB order."""
        places = (2, 1, 0) if self.order == "bgr" else (0, 1, 2)
        if not torch.compiler.is_compiling():
            return _by_planes(stored, places, self.mean, self.std)
        x = stored.flip(1) if self.order == "bgr" else stored
        return (x.float() - _per_channel(self.mean, x)) / _per_channel(self.std, x)


@dataclass(frozen=True)
class Hha:
    """Mean of the three stored HHA channels: disparity, height, angle; no channel swap."""

    mean: tuple[float, float, float]

    channels: ClassVar[int] = 3

    def __post_init__(self) -> None:
        """Store the mean as a plain tuple."""
        object.__setattr__(self, "mean", tuple(self.mean))

    def apply(self, stored: Tensor) -> Tensor:
        """Return network input for HHA, uint8 (N, 3, H, W)."""
        if not torch.compiler.is_compiling():
            return _by_planes(stored, (0, 1, 2), self.mean, (1, 1, 1))
        return stored.float() - _per_channel(self.mean, stored)


@dataclass(frozen=True)
class LogDepth:
    """Natural logarithm of the depth in millimetres, minus its mean, divided by `std`.

    The release divides by nothing, so that its depth spans about -1 to 1, and colour -120 to 150.
    """

    mean: float
    std: float = 1.0

    channels: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Raise ValueError if nothing can be divided by `std`."""
        if not self.std > 0:
            raise ValueError(f"std={self.std}: must be above 0; 1 divides by nothing")

    def apply(self, stored: Tensor) -> Tensor:
        """Return network input for depth (N, 1, H, W) in mm; missing values (0) become the mean."""
        log = (stored.float().clamp(min=1).log() - self.mean) / self.std
        return log.masked_fill(stored == 0, 0.0)


class InputRecipe:
    """Input fields of a net in order, and their assignment to streams.

    fields: recipe of each field by name (`rgb`, `depth`, `hha`, `bands`).
    streams: names of the fields stacked into each stream's net: one stream holding all
        fields (early), or one stream per field (late).
    """

    def __init__(
        self, fields: dict[str, FieldRecipe], streams: tuple[tuple[str, ...], ...]
    ) -> None:
        self.fields, self.streams = fields, streams

    def channels(self, stream: tuple[str, ...]) -> int:
        """Return the number of input channels of one stream."""
        return sum(self.fields[name].channels for name in stream)

    @property
    def bands(self) -> Bands | None:
        """Recipe of bands; None if the net takes none."""
        bands = self.fields.get("bands")
        return bands if isinstance(bands, Bands) else None

    @property
    def stored_channels(self) -> dict[str, int]:
        """Number of stored channels by field: of bands, the net may use a part."""
        found = {name: recipe.channels for name, recipe in self.fields.items()}
        return found | ({} if self.bands is None else {"bands": self.bands.stored_channels})

    @property
    def colour_order(self) -> str | None:
        """`bgr` or `rgb`; None if there is no colour input."""
        colour = self.fields.get("rgb") or self.bands
        return colour.order if isinstance(colour, Colour | Bands) else None

    def apply(self, fields: dict[str, Tensor], sizes: Tensor) -> dict[str, Tensor]:
        """Return network input, float32 (N, C, H, W) by field, for a padded batch's stored values.

        sizes (N, 2): height and width of each image in the batch. Padding beyond them becomes 0,
        the mean, just as a convolution's own padding does.
        """
        return {name: self._apply_one(name, fields[name], sizes) for name in self.fields}

    def _apply_one(self, name: str, stored: Tensor, sizes: Tensor) -> Tensor:
        x = self.fields[name].apply(stored).contiguous(memory_format=torch.channels_last)
        height, width = x.shape[-2:]
        for image, (h, w) in zip(x, sizes.tolist(), strict=True):
            if (h, w) != (height, width):
                image[:, h:] = 0
                image[:, :, w:] = 0
        return x

    def facts(self) -> dict[str, object]:
        """Return the recipe as plain values, to be stored with the weights."""
        fields = {name: asdict(recipe) for name, recipe in self.fields.items()}  # type: ignore[call-overload]
        if fields.get("depth", {}).get("std") == 1:
            del fields["depth"]["std"]  # as in checkpoints from before this key
        return {"streams": [list(stream) for stream in self.streams], "fields": fields}


def early(
    *,
    rgb: Colour | None = None,
    depth: LogDepth | None = None,
    hha: Hha | None = None,
    bands: Bands | None = None,
) -> InputRecipe:
    """Return a recipe that stacks the given fields into one stream (`rgbd`: four channels).

    bands: alone. Raises ValueError if a field is not a recipe, or none is given.
    """
    if bands is not None:
        if rgb or depth or hha:
            raise ValueError("bands are input alone; remove rgb, depth and hha")
        return InputRecipe({"bands": bands}, (("bands",),))
    fields = _given(rgb, depth, hha)
    return InputRecipe(fields, (tuple(fields),))


def late(
    *, rgb: Colour | None = None, depth: LogDepth | None = None, hha: Hha | None = None
) -> InputRecipe:
    """Return a recipe that gives each field its own net; their coarse scores are averaged."""
    fields = _given(rgb, depth, hha)
    return InputRecipe(fields, tuple((name,) for name in fields))


def _given(rgb: Colour | None, depth: LogDepth | None, hha: Hha | None) -> dict[str, FieldRecipe]:
    named: dict[str, FieldRecipe | None] = {"rgb": rgb, "depth": depth, "hha": hha}
    given = {name: recipe for name, recipe in named.items() if recipe is not None}
    for name, recipe in given.items():
        if not hasattr(recipe, "channels"):
            raise ValueError(f"{name}={recipe}: this modality has no such field; remove its values")
    if not given:
        raise ValueError("no input field: give at least one of rgb, depth and hha")
    return given


def _by_planes(
    stored: Tensor, places: Sequence[int], means: Sequence[float], stds: Sequence[float]
) -> Tensor:
    """Return (x - mean) / std of the channels at these places, written channels last.

    The same values, bit for bit, as from tensors of means. Making those on a GPU would wait for
    all of its work so far, in every pass.
    """
    last = torch.channels_last
    x = torch.empty(stored.shape, dtype=torch.float32, device=stored.device, memory_format=last)
    for target, (place, mean, std) in enumerate(zip(places, means, stds, strict=True)):
        plane = x[:, target]
        torch.sub(stored[:, place], mean, out=plane)
        if std != 1:
            plane /= std
    return x


def _per_channel(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device).view(1, -1, 1, 1)
