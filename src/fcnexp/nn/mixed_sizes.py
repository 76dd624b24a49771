"""Scores of a batch of images of different sizes, each as if it went through the net alone."""

from collections.abc import Sequence
from itertools import pairwise, zip_longest
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.nn.backbones.vgg import VGG16
from fcnexp.nn.extents import Extents, mixed
from fcnexp.nn.fast.eligibility import is_hooked
from fcnexp.nn.fast.switches import enabled
from fcnexp.nn.layer_probe import map_sizes

Size = tuple[int, int]  # height and width

# Cost of a further pass in pixels: so many more would take as long. GoogLeNet on a CPU: 8000 for a
# size seen before; more is assumed, since dividing a batch makes more sizes, and the first pass of
# each is slower. A GPU also waits for its kernels to start: a guess, not measured.
_PASS = {"cpu": 30_000}
_PASS_ELSEWHERE = 250_000
_ROUND = 16  # a pass's sides are multiples of it, since the first pass of a new size is slower


def score_each(net: nn.Module, inputs: dict[str, Tensor], sizes: Sequence[Size]) -> Tensor:
    """Return scores (N, K, H, W) of padded inputs (N, C, H, W) by field, each image's its own.

    sizes: of the images. Images that are alike share a pass if every part of the net allows it;
    otherwise they go through it one by one. Scores of the padding have no meaning.
    """
    first = next(iter(inputs.values()))
    height, width = first.shape[-2:]
    groups = _one_by_one(sizes)
    if shares_passes(net):
        groups = grouped(sizes, _PASS.get(first.device.type, _PASS_ELSEWHERE))
    scores = []
    for group in groups:
        made = _score_group(net, inputs, group, sizes)[..., :height, :width]
        scores.append(F.pad(made, (0, width - made.shape[-1], 0, height - made.shape[-2])))
    order = [image for group in groups for image in group]
    whole = scores[0] if len(scores) == 1 else torch.cat(scores)
    if order == sorted(order):
        return whole
    places = sorted(range(len(order)), key=order.__getitem__)
    return whole.index_select(0, torch.tensor(places, device=whole.device))


def shares_passes(net: nn.Module) -> bool:
    """Return True if images of different sizes can share a pass of this net, and it is faster.

    Every part has to say that it keeps them apart, by `mixed_sizes = True` in the class that
    defines its `forward`; layers of torch.nn are the business of the part that they belong to.
    Not if a part is hooked, compiled or recomputed. VGG16 padded by 100 is faster one by one,
    since most of its padding needs no computation then.
    """
    if not enabled("mixed") or net._compiled_call_impl is not None:
        return False
    for module in net.modules():
        if is_hooked(module) or "block" in vars(module) or not _keeps_apart(type(module)):
            return False
        if isinstance(module, VGG16) and module.pads_image and enabled("border"):
            return False
    return True


def _keeps_apart(kind: type[nn.Module]) -> bool:
    if kind.__module__.startswith("torch.nn."):
        return not issubclass(kind, nn.modules.batchnorm._NormBase)
    for cls in kind.__mro__:
        if "mixed_sizes" in vars(cls):
            return bool(vars(cls)["mixed_sizes"])
        if "forward" in vars(cls):
            return False
    return False


def grouped(sizes: Sequence[Size], cost: int) -> list[list[int]]:
    """Return groups of images' indices such that all passes together take least time.

    A pass takes as long as its padded pixels and `cost` more. Each group is a run of the images
    in order of height, width or area.
    """
    orders = (
        sorted(range(len(sizes)), key=lambda i: (key(*sizes[i]), i))
        for key in (lambda h, w: h, lambda h, w: w, lambda h, w: h * w)
    )
    return min((_runs(order, sizes, cost) for order in orders), key=lambda found: found[0])[1]


def _runs(order: list[int], sizes: Sequence[Size], cost: int) -> tuple[int, list[list[int]]]:
    """Return the cheapest division of an order into runs, and its cost, by dynamic programming."""
    best: list[tuple[int, list[int]]] = [(0, [0])]  # cost and borders of the first images' runs
    for end in range(1, len(order) + 1):
        best.append(
            min(
                (before + cost + _pixels([sizes[i] for i in order[start:end]]), [*borders, end])
                for start, (before, borders) in enumerate(best)
            )
        )
    total, borders = best[-1]
    return total, [order[start:end] for start, end in pairwise(borders)]


def _pixels(sizes: Sequence[Size]) -> int:
    height, width = _padded(sizes)
    return len(sizes) * height * width


def _padded(sizes: Sequence[Size]) -> Size:
    """Return the size of a pass of these images: their own if they agree."""
    if len(set(sizes)) == 1:
        return sizes[0]
    height, width = (max(sides) for sides in zip(*sizes, strict=True))
    return height + -height % _ROUND, width + -width % _ROUND


def _one_by_one(sizes: Sequence[Size]) -> list[list[int]]:
    return [[image] for image in range(len(sizes))]


def _score_group(
    net: nn.Module, inputs: dict[str, Tensor], group: list[int], sizes: Sequence[Size]
) -> Tensor:
    """Return scores (n, K, h, w) of some of the images in one pass."""
    own = [sizes[image] for image in group]
    height, width = _padded(own)
    part = {name: _crop(x, group, (height, width)) for name, x in inputs.items()}
    if len(set(own)) == 1:
        return net(part)
    with mixed(_extents_in(net, part, own)):
        return net(part)


def _crop(maps: Tensor, group: list[int], size: Size) -> Tensor:
    """Return some of the maps (N, C, H, W), cropped or zero-padded to a size."""
    height, width = size
    if len(group) == 1:
        return maps[group[0] : group[0] + 1, :, :height, :width]
    found = maps.new_zeros(len(group), height, width, maps.shape[1]).permute(0, 3, 1, 2)
    for place, image in zip(found, group, strict=True):
        part = maps[image, :, :height, :width]
        place[:, : part.shape[-2], : part.shape[-1]] = part
    return found


class _Run(NamedTuple):
    """Cells of a layer's input and output along one axis, for an image of one length."""

    given: int
    made: int


# By net, then by axis and length of an image, then by the layer's name.
_found: "WeakKeyDictionary[nn.Module, dict[tuple[int, int], dict[str, _Run]]]"
_found = WeakKeyDictionary()


def _extents_in(
    net: nn.Module, inputs: dict[str, Tensor], sizes: Sequence[Size]
) -> dict[nn.Module, Extents]:
    """Return the extents on every layer's maps for images of these sizes.

    The net runs on the meta device, once for each new height and width, since the rows of a map do
    not depend on its columns.
    """
    found = _found.setdefault(net, {})
    heights, widths = zip(*sizes, strict=True)
    unknown = [
        [length for length in dict.fromkeys(lengths) if (axis, length) not in found]
        for axis, lengths in enumerate((heights, widths))
    ]
    for size in zip_longest(*unknown, fillvalue=heights[0]):
        runs = map_sizes(net, {name: (x.shape[1], x.dtype) for name, x in inputs.items()}, size)
        for axis, length in enumerate(size):
            found[axis, length] = {
                name: _Run(given[axis], made[axis]) for name, (given, made) in runs.items()
            }
    rows, columns = [found[0, h] for h in heights], [found[1, w] for w in widths]
    extents = {}
    for name in rows[0]:
        cells = [(r[name], c[name]) for r, c in zip(rows, columns, strict=True)]
        given = [(down.given, across.given) for down, across in cells]
        made = [(down.made, across.made) for down, across in cells]
        extents[net.get_submodule(name)] = Extents(given, made)
    return extents
