"""Hiding one side of an image from the net, foreground or background, by its label.

What a net reaches then says how much it draws from the object and how much from its surroundings.
Source: PAMI, the table of masking.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fcnexp import VOID

SIDES = ("foreground", "background", "shape")  # what can be masked
BACKGROUND = 0


def mask(
    inputs: dict[str, Tensor], label: Tensor, side: str, filling: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Network input of which only the other side can be seen; the masked one is 0, the mean colour.

    inputs: network input (N, C, H, W) by field. label: uint8 (N, H, W). side: `foreground`, all
    classes but 0; `background`, class 0; `shape`, both, where the foreground becomes `filling()`,
    inputs of the same shapes. What the paper's row "Shape" was filled with is not known to us.
    Void is 0 whatever the side: it runs along the objects' edges and would outline what is masked.
    """
    objects = (label != BACKGROUND) & (label != VOID)
    if side == "shape":
        inputs, seen = filling(), objects
    else:
        seen = objects if side == "background" else label == BACKGROUND
    return {name: torch.where(seen[:, None], x, 0) for name, x in inputs.items()}
