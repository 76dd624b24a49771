"""Samples whose fields and labels are files in parallel folders, joined by id."""

from collections.abc import Callable, Mapping, Sequence
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
    """The files of one field, or the labels. name: file name, with `{}` for the id."""

    folder: Path
    name: str
    read: Callable[[Path], T]

    def path(self, name: str) -> Path:
        """The file of one id."""
        return self.folder / self.name.format(name)


class PairedFolders(Samples):
    """Images with one folder per field and one for the labels of each task, joined by id.

    label, num_classes: of the first task. further: those of the other tasks, by name.

    Checks at the start that every listed id has all its files, and reads them on access.
    Raises DataError naming the first missing file.
    """

    def __init__(
        self,
        ids: Sequence[str],
        fields: dict[str, Files[Tensor]],
        label: Files[np.ndarray],
        num_classes: int,
        lists: Sequence[Path] = (),
        *,
        further: Mapping[str, tuple[Files[np.ndarray], int]] | None = None,
    ) -> None:
        self.ids, self.fields, self.label = list(ids), fields, label
        self.num_classes, self.lists, self.further = num_classes, lists, dict(further or {})
        for field, files in fields.items():
            _refuse_missing(self.ids, files, "image" if field == "rgb" else f"{field} image")
        _refuse_missing(self.ids, label, "label")
        for task, (labels, _) in self.further.items():
            _refuse_missing(self.ids, labels, f"label of {task}")

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices
        """Read one image and its labels. Raises DataError naming the invalid file."""
        name = self.ids[index]
        fields = {field: files.read(files.path(name)) for field, files in self.fields.items()}
        label = self.read_label(index)
        sizes = {files.path(name): fields[field].shape[-2:] for field, files in self.fields.items()}
        check_sizes(sizes | {self.label.path(name): tuple(label.shape)})
        further = {task: self.read_further(index, task) for task in self.further}
        for task, (files, _) in self.further.items():
            check_sizes({self.label.path(name): label.shape, files.path(name): further[task].shape})
        return Sample(name, fields, label, further)

    def paths(self, index: int) -> list[Path]:
        """The files of one sample."""
        name = self.ids[index]
        found = [files.path(name) for files in self.fields.values()] + [self.label.path(name)]
        found += [labels.path(name) for labels, _ in self.further.values()]
        return list(dict.fromkeys(found))  # several labels may be read from one file

    def read_label(self, index: int) -> Tensor:
        """Read one label without its image. Raises DataError naming the invalid file."""
        path = self.label.path(self.ids[index])
        return check_label(self.label.read(path), path, self.num_classes)

    def read_further(self, index: int, task: str) -> Tensor:
        """Read one label of a further task. Raises DataError naming the invalid file."""
        files, num_classes = self.further[task]
        path = files.path(self.ids[index])
        return check_label(files.read(path), path, num_classes)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of one image, from the header of its first field."""
        return read_size(next(iter(self.fields.values())).path(self.ids[index]))


class Chosen(Samples):
    """Selected samples of one or several folders, in the order of `places` (folder, index)."""

    def __init__(self, places: Sequence[tuple[Samples, int]]) -> None:
        self.places = list(places)
        self.ids = [samples.ids[i] for samples, i in self.places]
        parts = {id(samples): samples for samples, _ in self.places}.values()
        self.lists = [path for samples in parts for path in samples.lists]

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices
        """Read one image and its labels."""
        samples, i = self.places[index]
        return samples[i]

    def paths(self, index: int) -> list[Path]:
        """The files of one sample."""
        samples, i = self.places[index]
        return samples.paths(i)

    def read_label(self, index: int) -> Tensor:
        """Read one label."""
        samples, i = self.places[index]
        return samples.read_label(i)

    def read_further(self, index: int, task: str) -> Tensor:
        """Read one label of a further task."""
        samples, i = self.places[index]
        return samples.read_further(i, task)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of one image."""
        samples, i = self.places[index]
        return samples.size(i)


def concatenate(parts: Sequence[Samples]) -> Chosen:
    """Return the samples of several folders, one after the other."""
    return Chosen([(part, i) for part in parts for i in range(len(part))])


def find_layout(root: Path, folders: tuple[str, ...], key: str) -> Path:
    """Return the folder at or shortly below root that has all these subfolders.

    key: config path of root, for messages. Raises DataError if there is no such folder.
    """
    root, needed = root.expanduser(), " and ".join(folders)
    if not root.is_dir():
        raise DataError(
            f"{key}={root}: no such folder; set it to the folder that contains {needed}, or try "
            "scale=small or data=shapes, which need no download"
        )
    known = ("", "VOCdevkit/VOC2012", "VOC2012", "TrainVal/VOCdevkit/VOC2011", "VOCdevkit/VOC2011")
    for place in (*known, "benchmark_RELEASE/dataset", "dataset", "CamVid", "SiftFlowDataset"):
        if all((root / place / folder).is_dir() for folder in folders):
            return root / place
    missing = " and ".join(folder for folder in folders if not (root / folder).is_dir())
    raise DataError(
        f"{key}={root}: contains no {missing}; set it to the folder that contains {needed}"
    )


def split_file(folder: Path, split: str) -> Path:
    """Return the list of a split, given its name in the folder or a path.

    Raises DataError naming the lists in the folder.
    """
    for path in list_files(folder, split):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in folder.glob("*.txt"))) or "none"
    raise DataError(
        f"{split}: no such list in {folder} (it has {known}); set data.*_split to one of these, or "
        "to the path of a list"
    )


def list_files(folder: Path, split: str) -> list[Path]:
    """Return the places to look for the list of a split, in order."""
    return [folder / f"{split}.txt", Path(split).expanduser()]


def _refuse_missing(ids: list[str], files: Files, what: str) -> None:
    present = {path.name for path in files.folder.iterdir()}
    missing = [name for name in ids if files.path(name).name not in present]
    if missing:
        raise DataError(
            f"{files.path(missing[0])}: no such {what} ({len(missing)} of {len(ids)} listed ids "
            "have none); choose a split whose files exist"
        )
