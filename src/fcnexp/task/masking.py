"""Masking of an image's foreground or background by its label.

The scores show how much a net relies on the object and how much on its context. Source: PAMI, the
table of masking.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fcnexp import void_of
from fcnexp.task.maps import check_integers, check_shape

SIDES = ("foreground", "background", "shape")  # what can be masked
BACKGROUND = 0


def mask(
    inputs: dict[str, Tensor], label: Tensor, side: str, filling: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Return network input with one side of the image masked, set to 0, the mean colour.

    inputs: network input (N, C, H, W) by field. label: (N, H, W), see `void_of`. side: what is
    masked: `foreground`, all classes except 0; `background`, class 0; or `shape`, both, with
    `filling()`, inputs of the same shapes, in the foreground. The paper does not say what its row
    "Shape" is filled with. Void is always 0: it runs along object edges and would outline the
    masked side. Raises ValueError if the label has other extents than an input.
    """
    check_integers("label", label)
    for name, x in inputs.items():
        check_shape("label", label, (x.shape[0], *x.shape[2:]), name)
    objects = (label != BACKGROUND) & (label != void_of(label))
    if side == "shape":
        inputs, seen = filling(), objects
    else:
        seen = objects if side == "background" else label == BACKGROUND
    return {name: torch.where(seen[:, None], x, 0) for name, x in inputs.items()}
