"""What a cell of a map sees of the image: in theory a square, by its gradient much less."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fcnexp.nn.geometry import Grid
from fcnexp.nn.inspection.feature_map import Map
from fcnexp.nn.inspection.trace import trace
from fcnexp.nn.streams import Network

COARSE = 8  # pixels: finer taps see little
SHARE = 0.9  # of the gradient, that tells how far a cell looks in practice


class Sight(NamedTuple):
    """What one cell sees, of the map of this name. All in pixels, pixel 0 being at 0.

    centre: row and column of the cell; step: from cell to cell. side: of the square that the cell
    can depend on. gradient: how much it depends on each pixel of this image, (H, W), sum 1, and
    reach: side of the square around the centre that has SHARE of it; both None where not measured.
    """

    name: str
    centre: tuple[float, float]
    step: float
    side: float
    gradient: Tensor | None
    reach: int | None


def sights(
    net: Network, inputs: dict[str, Tensor], at: tuple[int, int], *, measured: bool
) -> list[Sight]:
    """What the cells nearest to a pixel see: of each tap from COARSE on, and of the features.

    inputs: in network space (1, C, H, W) by field, on the meta device where nothing is measured.
    at: row and column. Of several streams the first is told.
    """
    stream = next(iter(net.scorers().values()))
    for x in inputs.values():
        x.requires_grad_(measured)
    taps: list[dict[int, Tensor]] = []  # of each run: shift-and-stitch runs more than once
    scored: list[Tensor] = []
    parts: list[tuple[Any, list]] = [(stream.backbone, taps), (stream.head, scored)]
    handles = [
        part.register_forward_hook(lambda _module, _args, out, to=to: to.append(out))
        for part, to in parts
    ]
    try:
        with torch.set_grad_enabled(measured):
            maps = trace(net, inputs, keep=True)
    finally:
        for handle in handles:
            handle.remove()
    wanted = {id(x) for stride, x in taps[0].items() if stride >= COARSE}
    # Where a sum is done in place its tensor holds the map before, too: the later one is the tap.
    shown = list({id(m.value): m for m in maps if id(m.value) in wanted}.values())
    last = next(m for m in maps if m.value is scored[0])
    features = next(m for m in maps if m.name == last.sources[0])
    if not last.name.startswith("score"):  # DeconvNet's head gives features
        features = last
    if all(features is not m for m in shown):
        shown.append(features)
    return [_sight(m, inputs, at, measured=measured) for m in shown]


def reach_of(gradient: Tensor, centre: tuple[float, float]) -> int:
    """Side of the smallest square around a place that has SHARE of the gradient (H, W), sum 1."""
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in gradient.shape)
    away = torch.maximum((rows - centre[0]).abs()[:, None], (columns - centre[1]).abs())
    order = away.flatten().argsort()
    within = gradient.flatten()[order].double().cumsum(0)
    last = int((within < SHARE * within[-1]).sum())
    return int(2 * float(away.flatten()[order][last]) + 1)


def _sight(found: Map, inputs: dict[str, Tensor], at: tuple[int, int], *, measured: bool) -> Sight:
    row, column = (
        _nearest(found.grid, place, cells) for place, cells in zip(at, found.shape[1:], strict=True)
    )
    centre = (_place(found.grid, row), _place(found.grid, column))
    gradient, reach = None, None
    if measured:
        assert found.value is not None
        cell = found.value[0, :, row, column].sum()
        parts = torch.autograd.grad(
            cell, list(inputs.values()), retain_graph=True, allow_unused=True
        )
        size = next(iter(inputs.values())).shape[-2:]
        total = torch.zeros(size)
        for part in parts:
            total += 0 if part is None else part[0].abs().sum(0)
        gradient = total / total.sum().clamp(min=torch.finfo(total.dtype).tiny)
        reach = reach_of(gradient, centre)
    return Sight(found.name, centre, found.grid.step, found.receptive_field, gradient, reach)


def _nearest(grid: Grid, place: float, cells: int) -> int:
    return min(cells - 1, max(0, round((place - grid.origin) / grid.step)))


def _place(grid: Grid, cell: int) -> float:
    return grid.origin + grid.step * cell
