"""Trunks of other libraries: where the cells of their maps lie is found by running them."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from fcnexp.nn.backbones.base import Tap
from fcnexp.nn.backbones.positioned import EXACT, Run
from fcnexp.nn.backbones.positions import run_on_positions
from fcnexp.nn.geometry import Grid

log = logging.getLogger(__name__)

# Images to try, and their growth for the second: windows of 7 or 8 cells of stride 32 need more.
SIDES = (((128, 192), 64), ((448, 672), 224), ((512, 768), 256))


REFUSALS = (AssertionError, IndexError, RuntimeError, TypeError, ValueError)  # of a size


class Found(NamedTuple):
    """A map of an unknown net.

    step: pixels between its cells. origin: position of the first, in pixels.
    radius: largest distance in pixels from a cell to a pixel that it depends on, without what sees
    the whole image. channels_last: the net gives (N, h, w, C).
    """

    channels: int
    step: int
    origin: float
    radius: float
    channels_last: bool


class Survey(NamedTuple):
    """What is found of a net: its maps, and the images that it takes.

    mixing: parts that see the whole image: means over it, attention. multiple: sides of images
    must be multiples of it for cells to keep their places. least: smallest side. apart: largest
    distance in pixels between paths through the net that meet in a cell.
    """

    maps: tuple[Found, ...]
    mixing: tuple[str, ...]
    multiple: int
    least: int
    apart: float


class _Axis(NamedTuple):
    """Positions along one axis of a map: its number of cells, and theirs in the middle part."""

    cells: int
    inner: Tensor
    start: int  # index of the first of `inner`


def survey(net: nn.Module, channels: int) -> Survey:
    """Return where the maps lie that a net returns as a list or dict, and the sizes it takes.

    Raises ValueError if the net refuses every size, or has a map without a position.
    """
    with torch.device("cpu"):  # a net on the meta device is built under another default
        return _survey(net, channels)


def _survey(net: nn.Module, channels: int) -> Survey:
    size, growth, first, run = _first_run(net, channels)
    larger = _places(net, channels, (size[0] + growth, size[1] + growth))
    ends = _maps(run_on_positions(net, channels, size, ends=True)[0])
    maps = tuple(
        _found(one, more, reach, growth)
        for one, more, reach in zip(first, larger, ends, strict=True)
    )
    deepest = max(each.step for each in maps)
    for multiple in (1, deepest, 2 * deepest, *(max(d, deepest) for d in (64, 224, 256))):
        if all(_same(net, channels, maps, tried) for tried in _tries(multiple, deepest)):
            break
    else:
        raise ValueError(f"its cells lie elsewhere for images of other sizes than {size}")
    sides = (1, *(deepest * i for i in range(1, 8))) if multiple == 1 else range(
        multiple, 8 * deepest + multiple, multiple
    )  # fmt: skip
    least = next(side for side in sides if _runs(net, channels, (side, side)))
    return Survey(maps, tuple(sorted(run.mixing)), multiple, least, max(run.apart))


def _first_run(net: nn.Module, channels: int) -> tuple[tuple[int, int], int, list[Tensor], Run]:
    """Return the first size that a net takes, its growth, and a run of it. Raises ValueError."""
    problem = ""
    for size, growth in SIDES:
        try:
            out, run = run_on_positions(net, channels, size, ends=False)
            return size, growth, _quotients(out), run
        except REFUSALS as error:
            problem = problem or " ".join(str(error).split())
    raise ValueError(f"it does not take images of any size ({problem})")


def _places(net: nn.Module, channels: int, size: tuple[int, int]) -> list[Tensor]:
    return _quotients(run_on_positions(net, channels, size, ends=False)[0])


def _quotients(out: Any) -> list[Tensor]:
    """Return rows and columns (2, ...) of each map; NaN if it has none."""
    return [weighted[1:] / weighted[:1] for weighted in _maps(out)]


def _tries(multiple: int, deepest: int) -> list[tuple[int, int]]:
    """Return sizes to check: odd ones, and for 1 those that fill the deepest cells least."""
    if multiple == 1:
        return [(3 * deepest + 5, 4 * deepest + 11), (4 * deepest - 1, 3 * deepest + 1)]
    cells = 3 if multiple == deepest else 1
    return [(cells * multiple, (cells + 2) * multiple)]


def _same(net: nn.Module, channels: int, maps: Sequence[Found], size: tuple[int, int]) -> bool:
    """True if a net's cells lie where they were found, and leave less than a cell at the end."""
    if not (made := _runs(net, channels, size)):
        return False
    for tensor, found in zip(made, maps, strict=True):
        for axis, side in zip(_axes(tensor, found.channels_last), size, strict=True):
            if abs(_origin(axis, found.step) - found.origin) > EXACT:
                return False
            if size[0] % found.step and found.origin + found.step * axis.cells <= side - 1:
                return False
    return True


def _runs(net: nn.Module, channels: int, size: tuple[int, int]) -> list[Tensor]:
    """Return the maps of positions for a size, or [] if the net refuses it."""
    try:
        return _places(net, channels, size)
    except REFUSALS:
        return []


def _maps(out: Any) -> list[Tensor]:
    values = list(out.values()) if isinstance(out, dict) else list(out)
    return [value.as_subclass(Tensor) for value in values]


def _found(one: Tensor, larger: Tensor, ends: Tensor, growth: int) -> Found:
    """Return a map's facts from its positions on two images. Raises ValueError."""
    if one.ndim != 4 or one.isnan().any():
        raise ValueError(f"its output {tuple(one.shape)} is not a map with a place on the image")
    channels_last = bool((one[0] - one[0, :, :1]).abs().max() <= EXACT)  # rows are along axis 0
    channels_last &= bool((one[1] - one[1, :1]).abs().max() <= EXACT)
    axes, more = _axes(one, channels_last), _axes(larger, channels_last)
    steps = {
        growth / (b.cells - a.cells) for a, b in zip(axes, more, strict=True) if b.cells > a.cells
    }
    if len(steps) != 1 or not (step := steps.pop()).is_integer():
        raise ValueError(f"its map {tuple(one.shape)} has no step of whole pixels, equal both ways")
    origins = [_origin(axis, step) for axis in (*axes, *more)]
    if max(origins) - min(origins) > EXACT:
        raise ValueError(f"its map of stride {step:g} starts at {sorted(set(origins))} by axis")
    low, high = (
        _axes(ends[:2], channels_last, torch.amin),
        _axes(-ends[2:], channels_last, torch.amax),
    )
    radius = max(
        max(origins[0] - _origin(a, step, torch.amin), _origin(b, step, torch.amax) - origins[0])
        for a, b in zip(low, high, strict=True)
    )
    return Found(
        one.shape[-1 if channels_last else 1], int(step), origins[0], radius, channels_last
    )


def _axes(
    positions: Tensor, channels_last: bool, over: Callable[..., Tensor] = torch.mean
) -> list[_Axis]:
    """Return the positions of a map's rows and columns, away from its border.

    over: joins those of the channels, which a window's middle has in common.
    """
    if channels_last:
        positions = positions.permute(0, 3, 1, 2)
    found = []
    for entry, others in ((0, (0, 2)), (1, (0, 1))):
        line = over(positions[entry], others)
        start = len(line) // 4
        found.append(_Axis(len(line), line[start : len(line) - start], start))
    return found


def _origin(axis: _Axis, step: float, over: Callable[[Tensor], Tensor] = torch.mean) -> float:
    """Return the position of an axis's first cell; `over` joins those that its cells tell."""
    cells = torch.arange(axis.start, axis.start + len(axis.inner), dtype=torch.float64)
    return round(float(over(axis.inner - step * cells)), 6)


def taps_of(maps: Sequence[Found]) -> dict[int, tuple[int, Tap]]:
    """Return the last map of each stride as a tap, with its place in the sequence, finest first."""
    last = {found.step: (place, found) for place, found in enumerate(maps)}
    return {
        step: (place, Tap(found.channels, Grid(float(step), found.origin)))
        for step, (place, found) in sorted(last.items())
    }


def _short(side: int, multiple: int, least: int) -> int:
    """Return the pixels that a side lacks to the next size; in an export, all are symbols."""
    grown = torch.sym_max(side, least)
    return grown + (multiple - grown % multiple) % multiple - side  # type: ignore[return-value]


class FoundTrunk(nn.Module):
    """A trunk of another library, with a tap for the last map of each stride.

    found: of the net's maps. make: builds the net that returns those of these places, as list or
    dict. mixing: parts that see the whole image, e.g. `attention`.
    """

    fc6 = (7, 3)
    pads_image = False
    modality = "rgb_backbone"  # the input that published weights take

    def __init__(self, found: Survey, make: Callable[[Sequence[int]], nn.Module]) -> None:
        super().__init__()
        self.found, self.mixing = found, found.mixing
        taps = taps_of(found.maps)
        self.places = {stride: place for stride, (place, _) in taps.items()}
        self.taps = {stride: tap for stride, (_, tap) in taps.items()}
        self.radii = {found.step: found.radius for found in found.maps}
        if found.apart > EXACT:
            text = (
                "where this backbone's paths meet, they are up to %g pixels apart; the first counts"
            )
            log.info(text, found.apart)
        self._make = make
        self.trunk = make([self.places[stride] for stride in self.taps])

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """Return maps by stride of an image (N, C, H, W); see `Backbone`."""
        out = self.trunk(self._padded(image))
        maps = out.values() if isinstance(out, dict) else out
        last = [self.found.maps[self.places[stride]].channels_last for stride in self.taps]
        maps = [m.permute(0, 3, 1, 2) if moved else m for m, moved in zip(maps, last, strict=True)]
        return dict(zip(self.taps, maps, strict=True))

    def _padded(self, image: Tensor) -> Tensor:
        """Pad an image with zeros, the mean colour, at its lower right to a size the net takes."""
        multiple, least = self.found.multiple, self.found.least
        if multiple == least == 1:
            return image
        height, width = (_short(side, multiple, least) for side in image.shape[-2:])
        return F.pad(image, (0, width, 0, height))

    def multiply_adds(self, size: tuple[int, int]) -> int:
        """Return the number of multiply-adds for an image of this size, by torch's counter."""
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            self._run_on_meta(size)
        return counter.get_total_flops() // 4  # two operations each, for two images

    def _run_on_meta(self, size: tuple[int, int]) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return the trunk's maps for two images, and its tensors, both on the meta device."""
        parameters, buffers = self.trunk.named_parameters(), self.trunk.named_buffers()
        tensors = {n: p.detach().to("meta").requires_grad_() for n, p in parameters}
        tensors |= {n: b.to("meta") for n, b in buffers}
        first = next(m for m in self.trunk.modules() if isinstance(m, nn.Conv2d))
        image = torch.empty(2, first.in_channels, *size, dtype=first.weight.dtype, device="meta")
        out = functional_call(self.trunk, tensors, (self._padded(image),))
        return list(out.values() if isinstance(out, dict) else out), tensors

    def depth(self) -> int:
        """Return the number of the trunk's convolutions; some may be beside the longest path."""
        return sum(isinstance(module, nn.Conv2d) for module in self.modules())

    def survey_again(self) -> Survey:
        """Return what is found of the trunk as it is now, after its layers have been changed."""
        first = next(m for m in self.trunk.modules() if isinstance(m, nn.Conv2d))
        return survey(self.trunk, first.in_channels)

    def shorten(self) -> None:
        """Build the net anew without what only removed taps need; its weights are new.

        Some of timm's nets keep deeper layers: these do not train.
        """
        self.trunk = self._make([self.places[stride] for stride in self.taps])
        own = dict(self.trunk.named_parameters())
        with torch.enable_grad():
            maps, on_meta = self._run_on_meta((256, 256))
            learned = [on_meta[name] for name in own]
            total: Any = sum(each.sum() for each in maps)
            found = torch.autograd.grad(total, learned, allow_unused=True)
        for parameter, gradient in zip(own.values(), found, strict=True):
            parameter.requires_grad_(gradient is not None)

    def layers(self) -> dict[str, nn.Module]:
        """Return {}: there are no Caffe layer names."""
        return {}
