"""Positions sent through any net in place of colours: each cell of a map receives its own place.

The image holds the position of each pixel, and the net's own forward runs on it in float64. Layers
that look at a window return the window's middle, and layers that change values but not places
return their input. Where paths meet, the first one's position is kept, and the distance of the
others noted; a shortcut is added to the branch around it. What a gate or attention multiplies
keeps its place: the gate itself, which sees the whole image, is frozen. No weight is read, so a
net on the meta device will do. Beyond its border a map continues as inside, as if there were no
padding. A second kind of run keeps the lowest position that a cell depends on, to find how far its
receptive field reaches.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from fcnexp.nn.backbones.moves import moved
from fcnexp.nn.backbones.positioned import Positions, Run, running
from fcnexp.nn.fast.switches import plain


def run_on_positions(
    net: nn.Module, channels: int, size: tuple[int, int], *, ends: bool
) -> tuple[Any, Run]:
    """Return a net's output for an image of positions, and what was found on the way.

    The batch is float64 (N, channels, *size). Entries of the output are weights, 0 if a value has
    no position, and weights times row and column; with `ends`, they are the lowest row and column
    that a cell depends on, and the highest of both, negated.
    """
    rows, columns = (torch.arange(n, dtype=torch.float64, device="cpu") for n in size)
    row, column = rows[:, None].expand(size), columns[None].expand(size)
    kinds = [row, column, -row, -column] if ends else [torch.ones_like(row), row, column]
    image = torch.stack(kinds)[:, None].expand(-1, channels, -1, -1)
    state = Run(ends, set(), [0.0], moved)
    token = running.set(state)
    try:
        with torch.device("cpu"), torch.no_grad(), plain(), _evaluated(net):
            return net(image.as_subclass(Positions)), state
    finally:
        running.reset(token)


@contextmanager
def _evaluated(net: nn.Module) -> Iterator[None]:
    """Run a net in eval mode."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
