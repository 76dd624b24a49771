"""Statistics of a data set, counted file by file, and its problems."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from fcnexp import VOID
from fcnexp.data.sample import Samples
from fcnexp.errors import DataError


class Checked(NamedTuple):
    """One image. counts: pixels by label value, int64 (256,). trouble: its problem, if any.

    further: counts of the labels of all tasks but the first, by name; empty with a problem.
    """

    name: str
    size: tuple[int, int]
    counts: np.ndarray
    trouble: str | None
    further: Mapping[str, np.ndarray]


@dataclass
class Report:
    """Statistics of one split.

    sizes: images by (height, width). pixels: by label value, 0 to 255. images_with: number of
    images that contain each value. troubles: messages that name files.
    """

    split: str
    images: int = 0
    sizes: Counter = field(default_factory=Counter)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    images_with: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    troubles: list[str] = field(default_factory=list)

    def add(self, one: Checked, task: str | None = None) -> None:
        """Count one image. task: a further one, None for the first."""
        self.images += 1
        if task is not None and one.trouble is None:
            one = one._replace(counts=one.further[task])
        if one.trouble is not None:
            self.troubles.append(one.trouble)
            return
        self.sizes[one.size] += 1
        self.pixels += one.counts
        self.images_with += one.counts > 0

    @property
    def void_share(self) -> float:
        """Fraction of pixels that are void; 0 if there are no pixels."""
        return float(self.pixels[VOID] / max(1, self.pixels.sum()))

    def absent(self, class_names: tuple[str, ...]) -> list[str]:
        """Classes without a pixel in the labels that could be read; none if none could."""
        return [name for i, name in enumerate(class_names) if self.sizes and not self.pixels[i]]

    def facts(self, class_names: tuple[str, ...]) -> dict[str, object]:
        """The report as plain values."""
        labelled = max(1, int(self.pixels.sum() - self.pixels[VOID]))
        classes = {
            name: {
                "pixels": int(self.pixels[i]),
                "share": float(self.pixels[i] / labelled),
                "images": int(self.images_with[i]),
            }
            for i, name in enumerate(class_names)
        }
        return {
            "images": self.images,
            "unreadable": len(self.troubles),
            "troubles": self.troubles,
            "sizes": {f"{h}x{w}": n for (h, w), n in self.sizes.most_common()},
            "void_share": self.void_share,
            "values": {i: int(n) for i, n in enumerate(self.pixels) if n},
            "classes": classes,
            "classes_without_pixels": self.absent(class_names),
        }


def check_one(samples: Samples, index: int) -> Checked:
    """Read one image and its label, and count the label's values."""
    name = samples.ids[index]
    try:
        sample = samples[index]
    except DataError as error:
        return Checked(name, (0, 0), np.zeros(256, np.int64), str(error), {})
    assert sample.label is not None
    label = sample.label.numpy()
    counts = np.bincount(label.ravel(), minlength=256)
    further = {
        task: np.bincount(other.numpy().ravel(), minlength=256)
        for task, other in sample.further.items()
    }
    trouble = None if (label != VOID).any() else f"{name}: every pixel of its label is void"
    return Checked(name, (label.shape[0], label.shape[1]), counts, trouble, further)


def check_all(samples: Samples, workers: int) -> Iterator[Checked]:
    """Check every image of a split, in order; workers: processes that read, 0 for this one."""
    one = partial(check_one, samples)
    if workers == 0:
        yield from map(one, range(len(samples)))
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(one, range(len(samples)), chunksize=16)


def repeated(ids: Iterable[str]) -> list[str]:
    """Ids that occur more than once, sorted."""
    return sorted(name for name, count in Counter(ids).items() if count > 1)


def absent_text(missing: Sequence[str], where: str) -> str:
    """Warning that classes have no pixel somewhere."""
    return (
        f"NO PIXEL of {shortened(missing)} in {where}: check the values of the masks, or choose "
        "lists that show every class"
    )


def shortened(names: Sequence[str], most: int = 6) -> str:
    """Names in a row, the first ones of many."""
    more = f" and {len(names) - most} more classes" if len(names) > most else ""
    return ", ".join(names[:most]) + more
