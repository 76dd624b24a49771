"""Part `dense`: the scores of a coarse net at every pixel, exactly, by three ways."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fcnexp.benching import nets
from fcnexp.benching.infer import words
from fcnexp.benching.measure import difference, interleaved
from fcnexp.benching.tables import Row, Table
from fcnexp.config.schema import BenchConfig


class Trunk(NamedTuple):
    """A trunk with one 1x1 scoring on its deepest map. field: side of what a score sees, pixels."""

    overrides: list[str]
    pad: int
    field: int


TRUNKS = {  # VGG16's with its own padding, not the pad of 100
    "VGG16 trunk": Trunk(["backbone=vgg16", "backbone.pad=1"], 1, 212),
    "AlexNet trunk": Trunk(["backbone=alexnet"], 100, 195),
}
STEP = 32  # pixels between a trunk's scores
SHIFTS = ((0, 0), (1, 0), (0, 17), (31, 31), (5, 28), (16, 16), (30, 1), (11, 23))
NAIVE, SHORT = "naive shift-and-stitch", "naive, pixels at the border lost"
RAREFIED, SHARED = "rarefaction", "shared shift-and-stitch"
MOST_ROUNDS = 3  # each takes some ten seconds


def dense(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """A table for each trunk."""
    for name, trunk in TRUNKS.items():
        yield one_trunk(asked, device, name, trunk)


@torch.inference_mode()
def one_trunk(asked: BenchConfig, device: torch.device, name: str, trunk: Trunk) -> Table:
    """Seconds to score every pixel of an image; the naive way's follow from some of its shifts."""
    from fcnexp.build import network
    from fcnexp.nn.dense.rarefaction import rarefy

    coarse = ["data=voc", "model=fcn32s", "head=linear", "init=scratch", *trunk.overrides]
    net: Any = network([*coarse, "dense=shift_and_stitch"]).to(device)
    nets.fill(nets.layers(net))
    scorer, rarefied = net.net.scorer, rarefy(net.net.scorer, 1)
    image = nets.image(asked.dense_size).to(device).contiguous(memory_format=torch.channels_last)
    found: dict[str, Any] = {}

    def kept(way: str, compute: Callable[[], Any]) -> Callable[[], None]:
        return lambda: found.update({way: compute()})

    ways = {
        NAIVE: kept(NAIVE, lambda: [shifted(scorer, image, shift) for shift in SHIFTS]),
        SHORT: kept(SHORT, lambda: [cut_off(scorer, image, shift) for shift in SHIFTS]),
        SHARED: kept(SHARED, lambda: net.net.dense.stitch(scorer(image), scorer, image)),
        RAREFIED: kept(RAREFIED, lambda: rarefied(image)),
    }
    seconds = interleaved(ways, min(MOST_ROUNDS, asked.rounds), device)
    for way in (NAIVE, SHORT):
        seconds[way] = [one * STEP**2 / len(SHIFTS) for one in seconds[way]]
    inside = [
        seen(trunk, scorer.grid.origin, shift, part.shape[-2:], image.shape[-2:])
        for shift, part in zip(SHIFTS, found[NAIVE], strict=True)
    ]
    cells = {way: at_shifts(found[way]) for way in (SHARED, RAREFIED)}
    differences = {way: apart(each, found[NAIVE], inside) for way, each in cells.items()}
    rows = [Row(way, seconds[way], {"difference": differences.get(way)}) for way in ways]
    count = sum(int(mask.sum()) for mask in inside)
    title = f"{name}, {words([asked.dense_size])}: exact scores of every pixel"
    return Table(title, rows, (NAIVE, SHORT), notes=[note(count)])


def shifted(scorer: Any, image: Tensor, shift: tuple[int, int]) -> Tensor:
    """Scores of each 32nd pixel from (row, column) on; the image begins a cell earlier for it."""
    row, column = shift
    return scorer(F.pad(image, (STEP - column, column, STEP - row, row)))[..., 1:, 1:]


def cut_off(scorer: Any, image: Tensor, shift: tuple[int, int]) -> Tensor:
    """The same of an image that keeps its size: what is moved out of it is lost."""
    row, column = shift
    return scorer(F.pad(image[..., row:, column:], (0, column, 0, row)))


def at_shifts(scores: Tensor) -> list[Tensor]:
    """The cells of dense scores (N, K, H, W) that each of the shifts has."""
    return [scores[..., row::STEP, column::STEP] for row, column in SHIFTS]


def seen(
    trunk: Trunk, origin: float, shift: tuple[int, int], cells: torch.Size, size: torch.Size
) -> Tensor:
    """Which cells see nothing but the image and its first padding, bool (h, w).

    Only these do not depend on whether a border was padded or moved in.
    """
    axes = []
    for first, count, length in zip(shift, cells, size, strict=True):
        middle = origin + first + STEP * torch.arange(count)
        reach = (trunk.field - 1) / 2
        axes.append((middle - reach >= -trunk.pad) & (middle + reach <= length - 1 + trunk.pad))
    return axes[0][:, None] & axes[1]


def apart(mine: list[Tensor], naive: list[Tensor], inside: list[Tensor]) -> float | None:
    """Largest difference over the cells that are to be equal; None where there are none."""
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
    """What the columns are."""
    return (
        f"Naive: the time of {len(SHIFTS)} of {STEP**2} shifts, each a pass of its own, times "
        f"{STEP**2 // len(SHIFTS)}; to score every pixel it needs an image that is {STEP} pixels "
        "longer each way. difference: to the naive scores, relative to the largest, at the "
        f"{count} cells of these shifts that see nothing beyond the image and its first padding; "
        "closer to the border one way moves in what another pads."
    )
