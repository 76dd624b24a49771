"""VGG16's maps of an image padded by 100, without convolving the whole padding.

Far from the image, a map has one value per channel, because its receptive field holds only zeros;
near its own edges it also depends on the zeros that each convolution pads with. Both are the same
for every image. So only the window that depends on the image is computed from it; the cells around
it come from the maps of a small image of zeros, the template, whose middle is stretched. This is
exact, forward and backward. If an edge would reach the image's window, the plain code runs.
"""

from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnexp.nn.backbones.base import Backbone
from fcnexp.nn.backbones.vgg import BLOCKS, VGG16
from fcnexp.nn.extents import is_mixed
from fcnexp.nn.fast.convolution import conv_relu
from fcnexp.nn.fast.eligibility import Snapshot, is_hooked, learns
from fcnexp.nn.fast.switches import enabled
from fcnexp.nn.pooling import MaxPool

_BLOCKS = BLOCKS[:-1]  # those whose maps have a window; in the fifth, edges reach the image's
_STEP = 2 ** len(_BLOCKS)  # pixels between cells of pool4
_POOL = (2, 2, 0, 1, 1)  # kernel, stride, padding, overhang and dilation of VGG16's poolings
_KEPT = 64  # cached templates: one per pair of sizes modulo 16, 0.4 MB each for FCN-8s


class Reach(NamedTuple):
    """Cells of a map, along one axis, that depend on more than endless zeros.

    Cells [first, last) depend on the image; the first `lead` and last `trail` of `length` cells
    depend on the map's edges.
    """

    first: int
    last: int
    lead: int
    trail: int
    length: int

    def conv(self) -> "Reach":
        """Return the reach after a 3x3 convolution padded by 1."""
        return Reach(self.first - 1, self.last + 1, self.lead + 1, self.trail + 1, self.length)

    def pool(self) -> "Reach":
        """Return the reach after a 2x2 pooling of stride 2, rounded up."""
        length = -(-self.length // 2)
        trail = length - (self.length - self.trail) // 2
        return Reach(self.first // 2, -(-self.last // 2), -(-self.lead // 2), trail, length)

    @property
    def is_separate(self) -> bool:
        """True if no cell depends on both the image and an edge."""
        return self.lead <= self.first and self.last <= self.length - self.trail


def reaches(pixels: int, pad: int) -> list[Reach]:
    """Return the reaches along one axis: of the image itself, then of pool1 to pool4.

    The image counts in cells of conv1_1's map, which has no edge cells, since it pads the image.
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
    """Return the least length of conv1_1's map whose pool4 has the same edges as at `length`.

    It is equal modulo 16, since poolings round, and leaves one cell of pool4 free of edges.
    """
    cells = length % _STEP
    while True:
        cells += _STEP
        pool4 = _pools(Reach(0, 0, 0, 0, cells))[-1]
        if pool4.lead + pool4.trail < pool4.length:
            return cells


def trunk_maps(trunk: Backbone, image: Tensor, wanted: set[int]) -> dict[int, Tensor]:
    """Return a trunk's maps by stride, including those wanted, of an image (N, C, H, W)."""
    if not _is_eligible(trunk, image, wanted):
        return trunk(image)
    assert isinstance(trunk, VGG16)
    axes = [reaches(pixels, trunk.pad) for pixels in image.shape[-2:]]
    size = tuple(template_length(axis[0].length) for axis in axes)
    template = _template(trunk, size, frozenset(wanted), image)
    far = image.new_zeros(1, image.shape[1], 1, 1)
    x, maps = image, {}
    for block, stride in enumerate(trunk.ends[: len(_BLOCKS)], start=1):
        before, after = ([axis[i] for axis in axes] for i in (block - 1, block))
        x = _surround(x, far, before, after, BLOCKS[block - 1][1])
        x = F.max_pool2d(trunk.block(x, block, (0, 0)), 2)
        rows, columns = after
        far = template.far[block - 1]
        if stride in template.edges:
            edges = _stretch(template.edges[stride], rows, columns)
            maps[stride] = _paste(x, edges, rows.first, columns.first)
    if trunk.ends[-1] in wanted:
        pool5 = trunk.get_submodule("pool5")
        maps[trunk.ends[-1]] = pool5(trunk.block(maps[_STEP], len(BLOCKS)))
    return maps


def _is_eligible(trunk: Backbone, image: Tensor, wanted: set[int]) -> bool:
    """Return True if this is a plain VGG16 whose padding keeps image and edges separate."""
    if not isinstance(trunk, VGG16) or not trunk.pads_image or not enabled("border"):
        return False
    if (
        image.is_meta
        or is_mixed()
        or torch.compiler.is_exporting()
        or 1 in wanted
        or max(trunk.taps) < _STEP
    ):
        return False
    if trunk.batch_norm or any(is_hooked(module) for module in trunk.modules()):
        return False
    if not all(_as_published(trunk, block) for block in range(1, len(_BLOCKS) + 1)):
        return False  # rarefied, or modified by the user
    axes = [reaches(pixels, trunk.pad) for pixels in image.shape[-2:]]
    return all(reach.is_separate for axis in axes for reach in axis)


def _as_published(trunk: VGG16, block: int) -> bool:
    """Return True if a block's layers have the form that `reaches` assumes."""
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


def _surround(
    window: Tensor, far: Tensor, before: list[Reach], after: list[Reach], depth: int
) -> Tensor:
    """Surround a window (N, C, h, w) with cells of value far (1, C, 1, 1), ahead of a block.

    The margin is such that `depth` unpadded convolutions and the pooling give the block's window.
    """
    (top, bottom), (left, right) = (
        (old.first - 2 * new.first + depth, 2 * new.last + depth - old.last)
        for old, new in zip(before, after, strict=True)
    )
    height, width = window.shape[-2] + top + bottom, window.shape[-1] + left + right
    return _paste(window, far.expand(-1, -1, height, width), top, left)


def _paste(window: Tensor, ground: Tensor, top: int, left: int) -> Tensor:
    """Return a map (1, C, H, W) with a window (N, C, h, w) pasted at this row and column."""
    images, _, height, width = window.shape
    whole = ground.to(window.dtype).expand(images, -1, -1, -1)
    whole = whole.clone(memory_format=torch.channels_last)
    whole[..., top : top + height, left : left + width] = window
    return whole


def _stretch(edges: Tensor, rows: Reach, columns: Reach) -> Tensor:
    """Return a template's map at the size of two reaches: same edges, with the middle repeated."""
    for axis, reach in ((-2, rows), (-1, columns)):
        # On the maps' device: copying from the CPU would wait for all of a GPU's work so far.
        cells, size = torch.arange(reach.length, device=edges.device), edges.shape[axis]
        from_end = cells - reach.length + size  # aligns the last cells
        in_front = cells < reach.length - reach.trail
        source = torch.where(in_front, cells.clamp(max=reach.lead), from_end)
        edges = edges.index_select(axis, source)
    return edges


class Template(NamedTuple):
    """A net's maps of an image of zeros.

    far: values of pool1 to pool4 far from every edge, (1, C, 1, 1). edges: the wanted maps by
    stride, (1, C, h, w), as small as possible.
    """

    far: list[Tensor]
    edges: dict[int, Tensor]


_templates: "WeakKeyDictionary[VGG16, tuple[Snapshot, dict[object, Template]]]"
_templates = WeakKeyDictionary()


def _template(
    trunk: VGG16, size: tuple[int, ...], wanted: frozenset[int], like: Tensor
) -> Template:
    """Return the template for a size of conv1_1's map, cached until the weights change."""
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
