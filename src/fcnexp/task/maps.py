"""Checks of label maps and score maps before anything is counted or learnt from them.

torch casts, broadcasts and slices where it can, so that a map of another dtype or shape would give
plausible numbers instead of an error.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fcnexp.errors import WeightsError


def check_same(prediction: Tensor, label: Tensor) -> None:
    """Raise ValueError unless both hold integers and have the same shape."""
    check_integers("prediction", prediction, "give scores.argmax(1)")
    check_integers("label", label)
    check_shape("prediction", prediction, label.shape, "the label")


def check_integers(what: str, values: Tensor, cure: str = "give class indices") -> None:
    """Raise ValueError if a label map holds anything but integers."""
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise ValueError(f"{what} has dtype {values.dtype}, but class indices are integers; {cure}")


def check_shape(what: str, values: Tensor, shape: Sequence[int], others: str) -> None:
    """Raise ValueError, naming what the shape was taken from, if a map has another one."""
    if tuple(values.shape) != tuple(shape):
        raise ValueError(
            f"{what} has shape {tuple(values.shape)}, but {others} needs {tuple(shape)}; "
            "crop or resize it, since nothing is broadcast"
        )


def check_finite(highest: Tensor, names: Sequence[str]) -> None:
    """Raise WeightsError, naming an image, if the highest score of a pixel is NaN or infinite.

    The predicted class would then be an arbitrary one. highest: (N, H, W). names: of the images.
    """
    odd = ~highest.isfinite().flatten(1).all(1)
    if odd.any():
        name = names[odd.tolist().index(True)]
        kind = str(highest.dtype).removeprefix("torch.")
        raise WeightsError(
            f"{name}: scores of the net are NaN or infinite in {kind}: the training diverged, or "
            "a value is too large; use an earlier checkpoint, or trainer.precision=32-true"
        )
