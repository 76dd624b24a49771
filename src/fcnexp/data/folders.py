"""Samples whose fields and label are files in folders of their own, joined by id."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from torch import Tensor

from fcnexp.data.files import check_label, check_sizes, read_size
from fcnexp.data.sample import Sample, Samples
from fcnexp.errors import DataError

T = TypeVar("T")


@dataclass(frozen=True)
class Files(Generic[T]):
    """The files of one field, or the labels. name: of each, `{}` stands for the id."""

    folder: Path
    name: str
    read: Callable[[Path], T]

    def path(self, name: str) -> Path:
        """The file of one id."""
        return self.folder / self.name.format(name)


class PairedFolders(Samples):
    """Images, one folder a field, with the labels of another, by id.

    Checks at the start that every listed id has all its files; reads them when asked for.
    Raises DataError naming the first file that is missing.
    """

    def __init__(
        self,
        ids: Sequence[str],
        fields: dict[str, Files[Tensor]],
        label: Files[np.ndarray],
        num_classes: int,
    ) -> None:
        self.ids, self.fields, self.label = list(ids), fields, label
        self.num_classes = num_classes
        for field, files in fields.items():
            _refuse_missing(self.ids, files, "image" if field == "rgb" else f"{field} image")
        _refuse_missing(self.ids, label, "label")

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices
        """Read one image and its label. Raises DataError naming the file that is wrong."""
        name = self.ids[index]
        fields = {field: files.read(files.path(name)) for field, files in self.fields.items()}
        label = self.read_label(index)
        sizes = {files.path(name): fields[field].shape[-2:] for field, files in self.fields.items()}
        check_sizes(sizes | {self.label.path(name): tuple(label.shape)})
        return Sample(name, fields, label)

    def read_label(self, index: int) -> Tensor:
        """Read one label, and no image. Raises DataError naming the file that is wrong."""
        path = self.label.path(self.ids[index])
        return check_label(self.label.read(path), path, self.num_classes)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of one image, from the header of its first field's file."""
        return read_size(next(iter(self.fields.values())).path(self.ids[index]))


class Chosen(Samples):
    """Some samples of one or several folders, in the order of `places` (folder, index)."""

    def __init__(self, places: Sequence[tuple[Samples, int]]) -> None:
        self.places = list(places)
        self.ids = [samples.ids[i] for samples, i in self.places]

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices
        """Read one image and its label."""
        samples, i = self.places[index]
        return samples[i]

    def read_label(self, index: int) -> Tensor:
        """Read one label."""
        samples, i = self.places[index]
        return samples.read_label(i)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of one image."""
        samples, i = self.places[index]
        return samples.size(i)


def concatenate(parts: Sequence[Samples]) -> Chosen:
    """Several folders one behind the other."""
    return Chosen([(part, i) for part in parts for i in range(len(part))])


def _refuse_missing(ids: list[str], files: Files, what: str) -> None:
    present = {path.name for path in files.folder.iterdir()}
    missing = [name for name in ids if files.path(name).name not in present]
    if missing:
        raise DataError(
            f"{files.path(missing[0])}: no such {what} ({len(missing)} of {len(ids)} listed ids "
            "have none); choose a split whose files are there"
        )
