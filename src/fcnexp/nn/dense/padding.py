"""Trimming of a rarefied net's padding to what the image's pixels need.

A net that pads the image by 100 scores cells far outside of it. If every cell is computed, those
are most of the work: 422 x 422 cells for an image of 224 x 224. A layer that pads less computes the
same cells except the outermost, and so does a later layer that does not pad at all.
"""

from typing import NamedTuple

from torch import nn

from fcnexp.nn.backbones.base import Tap
from fcnexp.nn.dense.upsampling import Upsampling
from fcnexp.nn.fcn import SkipNet
from fcnexp.nn.layer_probe import chain, meta_image, output_size
from fcnexp.nn.pooling import MaxPool


class SpareCells(NamedTuple):
    """Numbers of cells that no pixel's score needs, at the start and end of one axis of a map."""

    lead: int
    trail: int

    def before(self, layer: nn.Module) -> "SpareCells":
        """Spare cells of a stride-1 layer's input, given those of its output."""
        pad, hang = _padding_of(layer)
        return SpareCells(max(0, self.lead - pad), max(0, self.trail - pad - hang))


def trim_padding(scorer: SkipNet, upsampling: Upsampling) -> None:
    """Reduce a net's padding in place as far as the scores that `upsampling` reads stay the same.

    The scorer's map gets smaller and its grid starts later. upsampling: from the scorer's cells to
    the image's pixels, with repeated edges. Nets are left alone if they have skips, since their
    maps must line up; branches; or batch normalisation, whose statistics cover every cell.
    """
    head: nn.Module = scorer.head  # type: ignore[assignment]  # it is a Module
    found = chain(scorer.backbone, head)
    if found is None or scorer.skips:
        return
    layers, ends = found
    if any(isinstance(layer, nn.BatchNorm2d) for layer in layers):
        return
    spares, spare = {}, _spare_scores(scorer, upsampling)
    for layer in reversed(layers):
        if getattr(layer, "stride", 1) not in (1, (1, 1)):
            break  # removing padding before a stride would move the remaining cells
        spares[layer] = spare
        spare = spare.before(layer)
    dropped, so_far = 0, {}
    for layer in layers:
        if layer in spares:
            dropped += _reduce_padding(layer, spares[layer], full_input=dropped == 0)
        so_far[layer] = dropped
    taps = scorer.backbone.taps
    for stride, layer in ends.items():
        taps[stride] = Tap(taps[stride].channels, taps[stride].grid.crop(so_far[layer]))
    scorer.grid = scorer.head.grid = scorer.grid.crop(dropped)


def _reduce_padding(layer: nn.Module, spare: SpareCells, *, full_input: bool) -> int:
    """Reduce a layer's padding; return the number of leading cells that its map loses.

    full_input: the layer's input has lost no cell. Otherwise padding must go entirely, since its
    zeros would replace dropped cells; it can, since only unneeded cells are dropped.
    """
    pad, _ = _padding_of(layer)
    removed = min(pad, spare.lead, spare.trail) if full_input else pad
    if isinstance(layer, nn.Conv2d):
        layer.padding = (pad - removed, pad - removed)
        return removed
    if isinstance(layer, MaxPool) and not full_input:
        layer.pad = layer.hang = 0
        return removed
    return 0


def _padding_of(layer: nn.Module) -> tuple[int, int]:
    """Number of cells that a layer pads on each side, and how many more at the end."""
    if isinstance(layer, MaxPool):
        return layer.pad, layer.hang
    if isinstance(layer, nn.Conv2d):
        assert not isinstance(layer.padding, str), "padding must be a number of cells"
        return layer.padding[0], 0
    return 0, 0


def _spare_scores(scorer: SkipNet, upsampling: Upsampling) -> SpareCells:
    """Score cells that no pixel needs, whatever the image's size."""
    factor, crop = upsampling.factor, upsampling.crop
    fade = upsampling.kernel_size - factor  # pixels that also read a neighbouring cell
    counts = []
    for longer in range(factor):
        image = meta_image(scorer.backbone, longer)
        needed = -(-(crop + image.shape[-2]) // factor)
        counts.append(output_size(scorer, image)[0] - needed)
    return SpareCells(max(0, (crop - fade) // factor), max(0, min(counts)))
