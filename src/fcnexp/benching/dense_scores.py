"""Part `dense`: exact scores of a coarse net at every pixel, by three methods."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fcnexp.benching import nets
from fcnexp.benching.infer import size_text
from fcnexp.benching.measure import difference, interleaved
from fcnexp.benching.tables import Row, Table
from fcnexp.config.schema import BenchConfig


class Trunk(NamedTuple):
    """A trunk with a 1x1 scoring layer on its deepest map. field: receptive field in pixels."""

    overrides: list[str]
    pad: int
    field: int


TRUNKS = {  # VGG16 with its original padding of 1 instead of 100
    "VGG16 trunk": Trunk(["backbone=vgg16", "backbone.pad=1"], 1, 212),
    "AlexNet trunk": Trunk(["backbone=alexnet"], 100, 195),
}
STEP = 32  # stride of a trunk's scores, pixels
SHIFTS = ((0, 0), (1, 0), (0, 17), (31, 31), (5, 28), (16, 16), (30, 1), (11, 23))
NAIVE, SHORT = "naive shift-and-stitch", "naive, pixels at the border lost"
RAREFIED, SHARED = "rarefaction", "shared shift-and-stitch"
MOST_ROUNDS = 3  # each takes about ten seconds


def dense(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """Yield a table for each trunk."""
    for name, trunk in TRUNKS.items():
        yield one_trunk(asked, device, name, trunk)


@torch.inference_mode()
def one_trunk(asked: BenchConfig, device: torch.device, name: str, trunk: Trunk) -> Table:
    """Seconds to score every pixel of an image; extrapolated from some shifts if naive."""
    from fcnexp.build import network
    from fcnexp.nn.dense.rarefaction import rarefy

    coarse = ["data=voc", "model=fcn32s", "head=linear", "init=scratch", *trunk.overrides]
    net: Any = network([*coarse, "dense=shift_and_stitch"]).to(device)
    nets.fill(nets.layers(net))
    scorer, rarefied = net.net.scorer, rarefy(net.net.scorer, 1)
    image = nets.image(asked.dense_size).to(device).contiguous(memory_format=torch.channels_last)
    found: dict[str, Any] = {}

    def kept(method: str, compute: Callable[[], Any]) -> Callable[[], None]:
        return lambda: found.update({method: compute()})

    methods = {
        NAIVE: kept(NAIVE, lambda: [shifted(scorer, image, shift) for shift in SHIFTS]),
        SHORT: kept(SHORT, lambda: [cropped(scorer, image, shift) for shift in SHIFTS]),
        SHARED: kept(SHARED, lambda: net.net.dense.stitch(scorer(image), scorer, image)),
        RAREFIED: kept(RAREFIED, lambda: rarefied(image)),
    }
    seconds = interleaved(methods, min(MOST_ROUNDS, asked.rounds), device)
    for method in (NAIVE, SHORT):
        seconds[method] = [one * STEP**2 / len(SHIFTS) for one in seconds[method]]
    inside = [
        inside_image(trunk, scorer.grid.origin, shift, part.shape[-2:], image.shape[-2:])
        for shift, part in zip(SHIFTS, found[NAIVE], strict=True)
    ]
    cells = {  # of the dense scores, at each shift
        method: [found[method][..., row::STEP, column::STEP] for row, column in SHIFTS]
        for method in (SHARED, RAREFIED)
    }
    errors = {name: largest_error(each, found[NAIVE], inside) for name, each in cells.items()}
    rows = [Row(name, seconds[name], {"difference": errors.get(name)}) for name in methods]
    count = sum(int(mask.sum()) for mask in inside)
    title = f"{name}, {size_text([asked.dense_size])}: exact scores of every pixel"
    return Table(title, rows, (NAIVE, SHORT), notes=[note(count)])


def shifted(scorer: Any, image: Tensor, shift: tuple[int, int]) -> Tensor:
    """Scores of every 32nd pixel from (row, column) on, of an image padded by a cell."""
    row, column = shift
    return scorer(F.pad(image, (STEP - column, column, STEP - row, row)))[..., 1:, 1:]


def cropped(scorer: Any, image: Tensor, shift: tuple[int, int]) -> Tensor:
    """The same scores of an image that keeps its size, so that pixels shifted out are lost."""
    row, column = shift
    return scorer(F.pad(image[..., row:, column:], (0, column, 0, row)))


def inside_image(
    trunk: Trunk, origin: float, shift: tuple[int, int], cells: torch.Size, size: torch.Size
) -> Tensor:
    """Mask of the cells whose receptive field is inside the image and its first padding, (h, w).

    Only these do not depend on whether a border was padded or shifted in.
    """
    axes = []
    for first, count, length in zip(shift, cells, size, strict=True):
        middle = origin + first + STEP * torch.arange(count)
        reach = (trunk.field - 1) / 2
        axes.append((middle - reach >= -trunk.pad) & (middle + reach <= length - 1 + trunk.pad))
    return axes[0][:, None] & axes[1]


def largest_error(mine: list[Tensor], naive: list[Tensor], inside: list[Tensor]) -> float | None:
    """Largest difference over the cells that must be equal; None if there are none."""
    pairs = []
    for a, b, mask in zip(mine, naive, inside, strict=True):
        rows, columns = (min(x, y) for x, y in zip(a.shape[-2:], b.shape[-2:], strict=True))
        common = mask[:rows, :columns]
        if common.any():
            pairs.append(
                (a[..., :rows, :columns][..., common], b[..., :rows, :columns][..., common])
            )
    if not pairs:
        return None
    return difference(torch.cat([a for a, _ in pairs], -1), torch.cat([b for _, b in pairs], -1))


def note(count: int) -> str:
    """Explanation of the columns."""
    return (
        f"Naive: the time of {len(SHIFTS)} of {STEP**2} shifts, each a separate pass, times "
        f"{STEP**2 // len(SHIFTS)}; to score every pixel the image must be {STEP} pixels larger "
        "along each axis. difference: to the naive scores, relative to the largest score, at the "
        f"{count} cells of these shifts whose receptive field is inside the image and its first "
        "padding; closer to the border the methods pad differently."
    )
