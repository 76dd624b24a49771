"""Part `dense`: the scores of a coarse net at every pixel, exactly, by three ways."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fcnexp.benching import nets
from fcnexp.benching.infer import words
from fcnexp.benching.tables import Row, Table
from fcnexp.benching.timing import difference, interleaved
from fcnexp.schema import BenchConfig

# A trunk with one 1x1 scoring on its deepest map; VGG16's with its own padding, not the pad of 100.
TRUNKS = {
    "VGG16 trunk": ["backbone=vgg16", "backbone.pad=1"],
    "AlexNet trunk": ["backbone=alexnet"],
}
STEP = 32  # pixels between a trunk's scores
SHIFTS = ((0, 0), (1, 0), (0, 17), (31, 31), (5, 28), (16, 16), (30, 1), (11, 23))
NAIVE, RAREFIED, SHARED = "naive shift-and-stitch", "rarefaction", "shared shift-and-stitch"
MOST_ROUNDS = 3  # each takes some ten seconds


def dense(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """A table for each trunk."""
    for name, overrides in TRUNKS.items():
        yield one_trunk(asked, device, name, overrides)


@torch.inference_mode()
def one_trunk(
    asked: BenchConfig, device: torch.device, name: str, overrides: Sequence[str]
) -> Table:
    """Seconds to score every pixel of an image; the naive way's follow from some of its shifts."""
    from fcnexp.build import network
    from fcnexp.nn.rarefy import rarefy

    coarse = ["data=voc", "model=fcn32s", "head=linear", "init=scratch", *overrides]
    net: Any = network([*coarse, "dense=shift_and_stitch"]).to(device)
    nets.fill(nets.layers(net))
    scorer = net.net.scorer
    rarefied = rarefy(scorer, 1)
    image = nets.image(asked.dense_size).to(device).contiguous(memory_format=torch.channels_last)
    found: dict[str, Any] = {}

    def naive() -> None:
        found[NAIVE] = [shifted(scorer, image, shift) for shift in SHIFTS]

    def spread() -> None:
        found[RAREFIED] = rarefied(image)

    def shared() -> None:
        found[SHARED] = net.net.dense.stitch(scorer(image), scorer, image)

    ways = {NAIVE: naive, SHARED: shared, RAREFIED: spread}
    seconds = interleaved(ways, min(MOST_ROUNDS, asked.rounds), device)
    seconds[NAIVE] = [one * STEP**2 / len(SHIFTS) for one in seconds[NAIVE]]
    plain = found[NAIVE][0]
    apart = {
        NAIVE: 0.0,
        SHARED: max(
            difference(found[SHARED][..., row::STEP, column::STEP], part)
            for (row, column), part in zip(SHIFTS, found[NAIVE], strict=True)
        ),
        RAREFIED: difference(found[RAREFIED][..., ::STEP, ::STEP], plain),
    }
    rows = [Row(way, seconds[way], {"difference": apart[way]}) for way in ways]
    note = (
        f"Naive: the time of {len(SHIFTS)} of {STEP**2} shifts, each a pass of its own, times "
        f"{STEP**2 // len(SHIFTS)}. difference: to the naive scores, relative to the largest; of "
        "the shared way at all cells of these shifts, of rarefaction at the cells that are not "
        "shifted, since beyond the border one moves in what the other pads."
    )
    title = f"{name}, {words([asked.dense_size])}: exact scores of every pixel"
    return Table(title, rows, (NAIVE,), notes=[note])


def shifted(scorer: Any, image: Tensor, shift: tuple[int, int]) -> Tensor:
    """Scores of every 32nd pixel from (row, column) on, of an image that begins a cell earlier."""
    row, column = shift
    moved = F.pad(image, (STEP - column, column, STEP - row, row))
    return scorer(moved)[..., 1:, 1:]
