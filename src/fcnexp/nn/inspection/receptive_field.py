"""Receptive fields of cells: the theoretical square, and the effective one by gradient."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fcnexp.nn.geometry import Grid
from fcnexp.nn.inspection.function_tracer import Map
from fcnexp.nn.inspection.trace import trace
from fcnexp.nn.streams import Network

COARSE = 8  # pixels: taps of smaller stride have small receptive fields
FRACTION = 0.9  # of the gradient that the effective receptive field contains


class ReceptiveField(NamedTuple):
    """Receptive field of one cell in the map of this name. All in pixels; pixel 0 is at 0.

    centre: row and column of the cell; step: distance between cells; side: of the square that the
    cell can depend on. gradient: of the cell with respect to each pixel of this image, (H, W),
    absolute and with sum 1; effective_side: of the square around the centre that contains FRACTION
    of the gradient. Both are None if not measured.
    """

    name: str
    centre: tuple[float, float]
    step: float
    side: float
    gradient: Tensor | None
    effective_side: int | None


def receptive_fields(
    net: Network, inputs: dict[str, Tensor], at: tuple[int, int], *, measured: bool
) -> list[ReceptiveField]:
    """Receptive fields of the cells nearest to a pixel: in taps from COARSE on, and the features.

    inputs: in network space (1, C, H, W) by field, on the meta device if not measured. at: row and
    column. If the net has several streams, only the first is used.
    """
    stream = next(iter(net.scorers().values()))
    for x in inputs.values():
        x.requires_grad_(measured)
    taps: list[dict[int, Tensor]] = []  # one item per run: shift-and-stitch runs more than once
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
    # After an in-place sum, one tensor belongs to two maps: the later one is the tap.
    shown = list({id(m.value): m for m in maps if id(m.value) in wanted}.values())
    last = next(m for m in maps if m.value is scored[0])
    features = next(m for m in maps if m.name == last.sources[0])
    if not last.name.startswith("score"):  # DeconvNet's head returns features
        features = last
    if all(features is not m for m in shown):
        shown.append(features)
    return [_field_in(m, inputs, at, measured=measured) for m in shown]


def effective_side(gradient: Tensor, centre: tuple[float, float]) -> int:
    """Side of the smallest square around `centre` with FRACTION of a gradient (H, W) of sum 1."""
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in gradient.shape)
    away = torch.maximum((rows - centre[0]).abs()[:, None], (columns - centre[1]).abs())
    order = away.flatten().argsort()
    within = gradient.flatten()[order].double().cumsum(0)
    last = int((within < FRACTION * within[-1]).sum())
    return int(2 * float(away.flatten()[order][last]) + 1)


def _field_in(
    found: Map, inputs: dict[str, Tensor], at: tuple[int, int], *, measured: bool
) -> ReceptiveField:
    grid, (height, width) = found.grid, found.shape[1:]
    row, column = _nearest(grid, at[0], height), _nearest(grid, at[1], width)
    centre = (grid.origin + grid.step * row, grid.origin + grid.step * column)
    gradient, side = None, None
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
        side = effective_side(gradient, centre)
    return ReceptiveField(found.name, centre, grid.step, found.receptive_field, gradient, side)


def _nearest(grid: Grid, pixel: float, cells: int) -> int:
    return min(cells - 1, max(0, round((pixel - grid.origin) / grid.step)))
