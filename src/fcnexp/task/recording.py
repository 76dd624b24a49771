"""Keeps what is scored of each image, and gathers it from all processes."""

from collections.abc import Sequence

import numpy as np
import torch.distributed
from torch import Tensor

from fcnexp.scoring.by_image import iu_of_image
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
    """Records of the images that this process scores, in the order in which it scores them.

    worst: number of images with the lowest mean IU whose predictions are kept as well.
    """

    def __init__(self, worst: int) -> None:
        self.records: list[ImageRecord] = []
        self.worst = worst
        self.kept: list[tuple[float, int, np.ndarray]] = []  # mean IU, position, prediction

    def add(
        self,
        name: str,
        counts: Tensor,
        label: Tensor,
        prediction: Tensor,
        bands: dict[int, Tensor],
    ) -> None:
        """Record one image, unless its name is empty; see `data.datamodule.OwnShare`.

        counts: its confusion matrix, int64 (K, K). label, prediction: (H, W). bands: matrix
        by width, of the pixels near a boundary.
        """
        if not name:
            return
        matrix, guess = counts.cpu().numpy(), prediction.cpu().numpy()
        tables = {WHOLE: sparse(matrix)}
        tables |= {band_name(width): sparse(each.numpy()) for width, each in bands.items()}
        tables[OBJECTS] = objects_of(label.cpu().numpy(), guess)
        self._keep_if_bad(iu_of_image(matrix), guess)
        self.records.append(ImageRecord(name, tables))

    def _keep_if_bad(self, iu: float, prediction: np.ndarray) -> None:
        """Keep a prediction while it is one of the worst; of equal ones, the first is worse."""
        full = len(self.kept) >= self.worst
        if not np.isnan(iu) and (not full or (self.kept and iu < self.kept[-1][0])):
            self.kept.append((iu, len(self.records), prediction.copy()))
            self.kept = sorted(self.kept, key=lambda each: each[:2])[: self.worst]

    def gathered(self, classes: Sequence[str]) -> tuple[PerImage, dict[str, Tensor]]:
        """Records of all processes, in the order of the data, and the worst predictions by name.

        Every process must call this. The worst comes first.
        """
        parts = [(self.records, self.kept)]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts = parts * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, parts[0])
        per_image = joined(dealt_order([records for records, _ in parts]), classes)
        worst = [
            (iu, place * len(parts) + rank, prediction)
            for rank, (_, kept) in enumerate(parts)
            for iu, place, prediction in kept
        ]
        worst.sort(key=lambda each: each[:2])
        names = per_image.names
        return per_image, {names[i]: torch.from_numpy(p) for _, i, p in worst[: self.worst]}
