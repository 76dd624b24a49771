"""Padding no wider than the image's pixels need, in a net that has been made dense.

A net that pads the image by 100 scores cells far outside of it. Where every cell is computed they
are most of the work: 422 x 422 of them for an image of 224 x 224. A layer that pads less gives the
same cells but for the outermost, and so does one behind it that does not pad at all.
"""

from typing import NamedTuple

from torch import nn

from fcnexp.nn.backbones.base import Tap
from fcnexp.nn.dense.upsampling import Upsampling
from fcnexp.nn.fcn import SkipNet
from fcnexp.nn.layer_probe import chain, output_size, picture
from fcnexp.nn.pooling import MaxPool


class Spare(NamedTuple):
    """Cells of a map that no pixel's score needs, along one axis: the first and the last."""

    lead: int
    trail: int

    def before(self, layer: nn.Module) -> "Spare":
        """Those of the map that a layer of stride 1 takes, from those of the map that it gives."""
        pad, hang = _frame(layer)
        return Spare(max(0, self.lead - pad), max(0, self.trail - pad - hang))


def trim(scorer: SkipNet, upsampling: Upsampling) -> None:
    """Take padding away in place, as far as no score changes that `upsampling` reads.

    The scorer's map is then smaller, and its grid begins later. upsampling: from the scorer's
    cells to the image's pixels, with repeated edges. A net is left as it is if it has skips, whose
    maps lie on each other; branches; or batch normalisation, which counts every cell.
    """
    head: nn.Module = scorer.head  # type: ignore[assignment]  # it is a Module
    found = chain(scorer.backbone, head)
    if found is None or scorer.skips:
        return
    layers, ends = found
    if any(isinstance(layer, nn.BatchNorm2d) for layer in layers):
        return
    spares, spare = {}, _spare(scorer, upsampling)
    for layer in reversed(layers):
        if getattr(layer, "stride", 1) not in (1, (1, 1)):
            break  # fewer cells in than out: padding that is taken away would move the others
        spares[layer] = spare
        spare = spare.before(layer)
    dropped, so_far = 0, {}
    for layer in layers:
        if layer in spares:
            dropped += _narrow(layer, spares[layer], whole=dropped == 0)
        so_far[layer] = dropped
    taps = scorer.backbone.taps
    for stride, layer in ends.items():
        taps[stride] = Tap(taps[stride].channels, taps[stride].grid.crop(so_far[layer]))
    scorer.grid = scorer.head.grid = scorer.grid.crop(dropped)


def _narrow(layer: nn.Module, spare: Spare, *, whole: bool) -> int:
    """Let a layer pad less; returns the cells that its map loses before the first that it keeps.

    whole: the layer's input has lost no cell. Else zeros would stand for cells that were dropped,
    so that nothing may be padded; nor need be, as these cells would be needed otherwise.
    """
    pad, _ = _frame(layer)
    taken = min(pad, spare.lead, spare.trail) if whole else pad
    if isinstance(layer, nn.Conv2d):
        layer.padding = (pad - taken, pad - taken)
        return taken
    if isinstance(layer, MaxPool) and not whole:
        layer.pad = layer.hang = 0
        return taken
    return 0


def _frame(layer: nn.Module) -> tuple[int, int]:
    """Cells that a layer adds on each side, and behind the last on top of that."""
    if isinstance(layer, MaxPool):
        return layer.pad, layer.hang
    if isinstance(layer, nn.Conv2d):
        assert not isinstance(layer.padding, str), "nets here name their padding in cells"
        return layer.padding[0], 0
    return 0, 0


def _spare(scorer: SkipNet, upsampling: Upsampling) -> Spare:
    """Cells of the scores that no pixel needs, of an image of any size."""
    factor, crop = upsampling.factor, upsampling.crop
    fade = upsampling.kernel_size - factor  # pixels that reach for one cell more
    counts = []
    for longer in range(factor):
        image = picture(scorer.backbone, longer)
        needed = -(-(crop + image.shape[-2]) // factor)
        counts.append(output_size(scorer, image)[0] - needed)
    return Spare(max(0, (crop - fade) // factor), max(0, min(counts)))
