"""One image with its labels, as returned by every data set."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fcnexp import VOID, WIDE_VOID, void_of
from fcnexp.errors import DataError


@dataclass
class Sample:
    """One unprocessed image with its label, or labels if the data set has several tasks.

    name: the image's id, unique within its data set, without folder or extension.
    fields: the requested fields by name, all of the same height and width:
        rgb: uint8 (3, H, W), [0, 255], RGB order.
        hha: uint8 (3, H, W), [0, 255], disparity, height and angle as stored.
        depth: int32 (1, H, W), millimetres, 0 where missing.
        bands: float32 (C, H, W), all bands of the file as stored, NaN where missing.
    label: uint8 (H, W), class indices and VOID, of the first task; int16 with WIDE_VOID if there
        are more than 255 classes; None without ground truth.
    further: the labels of the other tasks by name, each like `label`.
    """

    name: str
    fields: dict[str, Tensor]
    label: Tensor | None
    further: dict[str, Tensor] = field(default_factory=dict)


class Samples(Sequence[Sample]):
    """A split of a data set: samples by index, read on access.

    ids: their names, in order. lists: files and folders that name the samples or their classes.
    shown: three of the bands, from 1, that pictures show as red, green and blue; None: see
    `bands.picture_of`.
    """

    ids: list[str]
    lists: Sequence[Path] = ()
    shown: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices
        """Read one sample. Raises DataError naming the invalid file."""

    def paths(self, index: int) -> list[Path]:
        """Files of one sample, if it has any."""
        return []

    def read_label(self, index: int) -> Tensor:
        """Label of one sample, (H, W), without its image if possible. Raises DataError."""
        label = self[index].label
        assert label is not None
        return label

    def read_further(self, index: int, task: str) -> Tensor:
        """Label of one sample for a further task, as `read_label` reads the first one's."""
        return self[index].further[task]

    @abstractmethod
    def size(self, index: int) -> tuple[int, int]:
        """Height and width of one sample, from an image header. Raises DataError."""


def refuse_odd(sample: Sample) -> None:
    """Raise DataError, naming the image, if a sample's maps are not as `Sample` says.

    Readers of our own data sets cannot return such a sample, but a user's own class can. torch
    would cast its values, or fill one corner of the label, without a word.
    """
    extent = tuple(next(iter(sample.fields.values())).shape[-2:])
    for name, x in sample.fields.items():
        kind, channels = _KINDS.get(name, (None, None))
        if x.ndim != 3 or (channels and len(x) != channels) or x.shape[1:] != extent:
            wanted = f"({channels or 'C'}, {extent[0]}, {extent[1]})"
            raise DataError(f"{sample.name}: {name} has shape {tuple(x.shape)}; give {wanted}")
        if kind and x.dtype != kind and not (name == "depth" and _is_integer(x)):
            raise DataError(f"{sample.name}: {name} has dtype {x.dtype}; {_VALUES[name]}")
    labels = {"label": sample.label, **sample.further}
    for name, label in labels.items():
        if label is None:
            continue
        if not _is_integer(label):
            raise DataError(f"{sample.name}: {name} has dtype {label.dtype}; give class indices")
        if tuple(label.shape) != extent:
            raise DataError(
                f"{sample.name}: {name} has shape {tuple(label.shape)}, but the image is {extent}; "
                "give one class for each pixel"
            )


_KINDS: dict[str, tuple[torch.dtype, int | None]] = {
    "rgb": (torch.uint8, 3),
    "hha": (torch.uint8, 3),
    "depth": (torch.int32, 1),
    "bands": (torch.float32, None),
}
_VALUES = {
    "rgb": "give uint8, 0 to 255",
    "hha": "give uint8, 0 to 255",
    "depth": "give int32, in millimetres",
    "bands": "give float32, NaN where missing",
}


def _is_integer(values: Tensor) -> bool:
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def value_counts(label: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixels by class index, with those of void last: int64, 256 or with more classes K + 1 values.

    label: (H, W), class indices and void, as in `Sample`.
    """
    if void_of(label) == VOID:
        return np.bincount(label.ravel(), minlength=VOID + 1)
    counts = np.bincount(label.ravel().astype(np.intp) - WIDE_VOID, minlength=num_classes + 1)
    return np.roll(counts, WIDE_VOID)
