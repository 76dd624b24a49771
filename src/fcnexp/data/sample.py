"""One image with its label, as every data set returns it."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Sample:
    """One image with its label, unprocessed.

    name: the image's id, unique within its data set, without folder or extension.
    fields: what the data set provides, by name; `rgb` is uint8 (3, H, W), [0, 255], RGB order.
    label: uint8 (H, W), class indices and VOID; None where there is no truth.
    """

    name: str
    fields: dict[str, Tensor]
    label: Tensor | None
