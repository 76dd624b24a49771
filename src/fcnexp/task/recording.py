"""Keeps what is scored of each image, and gathers it from all processes."""

from collections.abc import Sequence

import torch.distributed
from torch import Tensor

from fcnexp.scoring.objects import objects_of
from fcnexp.scoring.per_image import (
    OBJECTS,
    WHOLE,
    ImageRecord,
    PerImage,
    band_name,
    dealt_order,
    joined,
    sparse,
)


class Recorder:
    """Records of the images that this process scores, in the order in which it scores them."""

    def __init__(self) -> None:
        self.records: list[ImageRecord] = []

    def add(
        self,
        name: str,
        counts: Tensor,
        label: Tensor,
        prediction: Tensor,
        bands: dict[int, Tensor],
    ) -> None:
        """Record one image, unless its name is empty; see `data.datamodule.OwnShare`.

        counts: its confusion matrix, int64 (K, K). label, prediction: uint8 (H, W). bands: matrix
        by width, of the pixels near a boundary.
        """
        if not name:
            return
        tables = {WHOLE: sparse(counts.cpu().numpy())}
        tables |= {band_name(width): sparse(each.numpy()) for width, each in bands.items()}
        tables[OBJECTS] = objects_of(label.cpu().numpy(), prediction.cpu().numpy())
        self.records.append(ImageRecord(name, tables))

    def gathered(self, classes: Sequence[str]) -> PerImage:
        """Records of all processes, in the order of the data; every process must call this."""
        parts = [self.records]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts = [[] for _ in range(torch.distributed.get_world_size())]
            torch.distributed.all_gather_object(parts, self.records)
        return joined(dealt_order(parts), classes)
