"""What a task expects of batches and of the conversion of stored bytes to network input."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor


class InputRecipe(Protocol):
    """Converts a batch's stored bytes to network input, and describes the conversion."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """Conversion of each field, by name."""

    def apply(self, fields: dict[str, Tensor], sizes: Tensor) -> dict[str, Tensor]:
        """Return the network input of a padded batch, by field."""

    def facts(self) -> dict[str, object]:
        """Return the recipe as plain values."""


class PaddedBatch(Protocol):
    """Attributes that a batch must have; see `data.collate.Batch`.

    If the net has several tasks, also `further`, the labels of all but the first by name.
    """

    fields: dict[str, Tensor]
    label: Tensor
    sizes: Tensor
    names: list[str]
