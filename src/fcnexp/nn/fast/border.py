"""VGG16's maps of an image padded by 100, without computing the padding as part of the image.

Far from the image a map has one value per channel, since all it sees is zeros; near the map's own
edges it sees the zeros that each convolution pads with. Both are the same whatever the image is. So
only the window that the image reaches is computed from the image; what surrounds it is taken from
the maps of a small image of zeros, the template, whose middle is stretched. All of it is exact,
forward and backward. Where an edge would reach the image's window, maps are computed as always.
"""

from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.nn.backbones.base import Backbone
from fcnexp.nn.backbones.vgg import BLOCKS, VGG16
from fcnexp.nn.fast.convolution import conv_relu
from fcnexp.nn.fast.frozen import Snapshot, learns
from fcnexp.nn.fast.switches import taken
from fcnexp.nn.fast.watched import watched
from fcnexp.nn.pooling import MaxPool

_BLOCKS = BLOCKS[:-1]  # those whose maps have a window: in the fifth, edges reach the image's
_STEP = 2 ** len(_BLOCKS)  # pixels between cells behind them
_POOL = (2, 2, 0, 1, 1)  # kernel, stride, padding, overhang, dilation of VGG16's
_KEPT = 64  # templates at once: one for each pair of sizes modulo 16, 0.4 MB each for FCN-8s


class Reach(NamedTuple):
    """Which cells of a map, along one axis, see something else than endless zeros.

    The image reaches [first, last); the map's edges `lead` cells in front and `trail` behind, of
    `length` in all.
    """

    first: int
    last: int
    lead: int
    trail: int
    length: int

    def conv(self) -> "Reach":
        """Behind a 3x3 convolution padded by 1."""
        return Reach(self.first - 1, self.last + 1, self.lead + 1, self.trail + 1, self.length)

    def pool(self) -> "Reach":
        """Behind a 2x2 pooling of stride 2, rounded up."""
        length = -(-self.length // 2)
        trail = length - (self.length - self.trail) // 2
        return Reach(self.first // 2, -(-self.last // 2), -(-self.lead // 2), trail, length)

    @property
    def parted(self) -> bool:
        """Whether the edges reach no cell that the image does."""
        return self.lead <= self.first and self.last <= self.length - self.trail


def reaches(pixels: int, pad: int) -> list[Reach]:
    """Along one axis: of the image itself, then of pool1 to pool4.

    The image is told in cells of conv1_1's map, which has no edge, since that layer pads the image.
    """
    image = Reach(pad - 1, pad - 1 + pixels, 0, 0, pixels + 2 * pad - 2)
    return [image, *_pools(image._replace(first=image.first - 1, last=image.last + 1))]


def _pools(conv1_1: Reach) -> list[Reach]:
    found, reach = [], conv1_1
    for block, (_, depth) in enumerate(_BLOCKS):
        for _ in range(depth - (block == 0)):  # conv1_1 is done
            reach = reach.conv()
        reach = reach.pool()
        found.append(reach)
    return found


def template_length(length: int) -> int:
    """Cells of conv1_1's map from which pool4 gets the edges that it gets from `length` cells.

    As many modulo 16, since poolings round; and so many that one cell of pool4 sees no edge.
    """
    cells = length % _STEP
    while True:
        cells += _STEP
        pool4 = _pools(Reach(0, 0, 0, 0, cells))[-1]
        if pool4.lead + pool4.trail < pool4.length:
            return cells


def trunk_maps(trunk: Backbone, image: Tensor, wanted: set[int]) -> dict[int, Tensor]:
    """A trunk's maps (N, C, h, w) of an image (N, C, H, W) by stride, at least those wanted."""
    if not _windowed(trunk, image, wanted):
        return trunk(image)
    assert isinstance(trunk, VGG16)
    axes = [reaches(pixels, trunk.pad) for pixels in image.shape[-2:]]
    size = tuple(template_length(axis[0].length) for axis in axes)
    template = _template(trunk, size, frozenset(wanted), image)
    far = image.new_zeros(1, image.shape[1], 1, 1)
    x, maps = image, {}
    for block, stride in enumerate(trunk.ends[: len(_BLOCKS)], start=1):
        before, after = ([axis[i] for axis in axes] for i in (block - 1, block))
        x = _surround(x, far, _margins(before, after, BLOCKS[block - 1][1]))
        x = F.max_pool2d(trunk.block(x, block, (0, 0)), 2)
        rows, columns = after
        far = template.far[block - 1]
        if stride in template.edges:
            edges = _stretch(template.edges[stride], rows, columns)
            maps[stride] = _lay(x, edges, rows.first, columns.first)
    if trunk.ends[-1] in wanted:
        pool5 = trunk.get_submodule("pool5")
        maps[trunk.ends[-1]] = pool5(trunk.block(maps[_STEP], len(BLOCKS)))
    return maps


def _windowed(trunk: Backbone, image: Tensor, wanted: set[int]) -> bool:
    """Whether all is as `trunk_maps` needs it: a plain VGG16, padded widely enough."""
    if not isinstance(trunk, VGG16) or not trunk.pads_image or not taken("border"):
        return False
    if image.is_meta or torch.compiler.is_exporting() or 1 in wanted or max(trunk.taps) < _STEP:
        return False
    if trunk.batch_norm or any(watched(module) for module in trunk.modules()):
        return False
    if not all(_as_published(trunk, block) for block in range(1, len(_BLOCKS) + 1)):
        return False  # a rarefied one, or one that somebody has rebuilt
    return all(reach.parted for pixels in image.shape[-2:] for reach in reaches(pixels, trunk.pad))


def _as_published(trunk: VGG16, block: int) -> bool:
    """Whether a block's layers are those whose windows are known here."""
    pool = trunk.get_submodule(f"pool{block}")
    if type(pool) is not MaxPool:
        return False
    pads = [trunk.pad if block == 1 else 1, *[1] * (BLOCKS[block - 1][1] - 1)]
    form = (pool.kernel, pool.stride, pool.pad, pool.hang, pool.dilation)
    return form == _POOL and all(
        type(layer) is nn.Conv2d
        and layer.bias is not None
        and layer.padding_mode == "zeros"
        and (layer.kernel_size, layer.padding) == ((3, 3), (pad, pad))
        and (layer.stride, layer.dilation, layer.groups) == ((1, 1), (1, 1), 1)
        for layer, pad in zip(trunk.convolutions(block), pads, strict=True)
    )


def _margins(before: list[Reach], after: list[Reach], depth: int) -> list[int]:
    """Cells to lay around a window, on the left, right, top and bottom, in front of a block.

    So many that convolutions without padding, and the pooling, give the block's window.
    """
    sides = [
        (old.first - 2 * new.first + depth, 2 * new.last + depth - old.last)
        for old, new in zip(before, after, strict=True)
    ]
    return [*sides[1], *sides[0]]


def _surround(window: Tensor, far: Tensor, margins: list[int]) -> Tensor:
    """A window (N, C, h, w) amid cells of one value per channel, far (1, C, 1, 1)."""
    left, right, top, bottom = margins
    height, width = window.shape[-2] + top + bottom, window.shape[-1] + left + right
    return _lay(window, far.expand(-1, -1, height, width), top, left)


def _lay(window: Tensor, ground: Tensor, top: int, left: int) -> Tensor:
    """A window (N, C, h, w) laid over a map (1, C, H, W), from this row and column on."""
    images, _, height, width = window.shape
    whole = ground.to(window.dtype).expand(images, -1, -1, -1)
    whole = whole.clone(memory_format=torch.channels_last)
    whole[..., top : top + height, left : left + width] = window
    return whole


def _stretch(edges: Tensor, rows: Reach, columns: Reach) -> Tensor:
    """A template's map at another size: its edges as they are, between them what is far."""
    for axis, reach in ((-2, rows), (-1, columns)):
        cells, size = torch.arange(reach.length), edges.shape[axis]
        behind = cells - reach.length + size  # counted so that the last is the template's last
        source = torch.where(
            cells < reach.length - reach.trail, cells.clamp(max=reach.lead), behind
        )
        edges = edges.index_select(axis, source.to(edges.device))
    return edges


class Template(NamedTuple):
    """What a net's maps are of an image of zeros.

    far: of pool1 to pool4, the value far from every edge, (1, C, 1, 1). edges: by stride, those of
    the maps that are wanted, (1, C, h, w), as small as they can be.
    """

    far: list[Tensor]
    edges: dict[int, Tensor]


_templates: "WeakKeyDictionary[VGG16, tuple[Snapshot, dict[object, Template]]]"
_templates = WeakKeyDictionary()


def _template(
    trunk: VGG16, size: tuple[int, ...], wanted: frozenset[int], like: Tensor
) -> Template:
    """The template of a size of conv1_1's map: kept as long as the weights are what they are."""
    layers = [layer for block in range(1, len(_BLOCKS) + 1) for layer in trunk.convolutions(block)]
    if torch.compiler.is_compiling() or any(learns(layer) for layer in layers):
        return _compute(trunk, size, wanted)
    held = _templates.get(trunk)
    if held is None or not held[0].holds(layers):
        held = _templates[trunk] = (Snapshot(layers), {})
    device = like.device.type
    autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    key = (size, wanted, autocast, torch.is_inference_mode_enabled())
    template = held[1].get(key)
    if template is None:
        if len(held[1]) >= _KEPT:
            held[1].clear()
        template = held[1][key] = _compute(trunk, size, wanted)
    return template


def _compute(trunk: VGG16, size: tuple[int, ...], wanted: frozenset[int]) -> Template:
    layers = trunk.convolutions(1)
    assert layers[0].bias is not None
    x = F.relu(layers[0].bias).view(1, -1, 1, 1).expand(-1, -1, *size)  # conv1_1 of zeros
    x = x.contiguous(memory_format=torch.channels_last)
    reaches = [_pools(Reach(0, 0, 0, 0, length)) for length in size]
    made = Template([], {})
    for block, stride in enumerate(trunk.ends[: len(_BLOCKS)], start=1):
        x = conv_relu(layers[1], x) if block == 1 else trunk.block(x, block)
        x = F.max_pool2d(x, 2, ceil_mode=True)
        row, column = (axis[block - 1].lead for axis in reaches)
        made.far.append(x[..., row : row + 1, column : column + 1].clone())
        if stride in wanted or block == len(_BLOCKS):
            made.edges[stride] = x
    return made
