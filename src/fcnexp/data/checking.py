"""Statistics of a data set, counted file by file, and its problems."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple
from zlib import crc32

import numpy as np

from fcnexp import VOID
from fcnexp.data.alignment import fits_of
from fcnexp.data.bands import picture_of
from fcnexp.data.likeness import Look, look_of
from fcnexp.data.mask_values import Value, stored_values
from fcnexp.data.pairs import Pairs
from fcnexp.data.sample import Sample, Samples, value_counts
from fcnexp.errors import DataError
from fcnexp.scoring.tasks import Task

EXAMPLES = 3  # images kept of each class, for the contact sheet
SMALL = 0.002  # fraction of an image below which a class is hardly visible on a sheet


class Checked(NamedTuple):
    """One image. counts: pixels by class index, void last. trouble: its problem, if any.

    look, fits: of its colour picture, see `likeness` and `alignment`; None if it has none. note:
    its EXIF orientation, 1 if it has none, and whether the picture is read turned. stored: pixels
    by value or colour in the mask's file; both of custom data only. further: counts of the labels
    of all tasks but the first, by name; empty with a problem.
    """

    name: str
    size: tuple[int, int]
    counts: np.ndarray
    trouble: str | None
    look: Look | None = None
    fits: np.ndarray | None = None
    note: tuple[int, bool] = (1, False)
    stored: Mapping[Value, int] = {}
    further: Mapping[str, np.ndarray] = {}


class Example(NamedTuple):
    """An image that shows a class. order: the better, the lower. place: in its split."""

    order: tuple[bool, int]
    place: int
    shows: tuple[int, ...]  # class indices


@dataclass
class Report:
    """Statistics of one split.

    sizes: images by (height, width). pixels: by class index, void last. images_with: number of
    images that contain each value. troubles: messages that name files. looks: of the pictures, by
    name. fits: of the masks, by name. notes: EXIF orientation, and whether it is applied, by name.
    stored, masks_with: pixels, and number of masks, by stored value. examples: images that show a
    class, the best first, by class index.
    """

    split: str
    num_classes: int
    images: int = 0
    sizes: Counter = field(default_factory=Counter)
    pixels: np.ndarray = field(init=False)
    images_with: np.ndarray = field(init=False)
    troubles: list[str] = field(default_factory=list)
    looks: dict[str, Look] = field(default_factory=dict)
    fits: dict[str, np.ndarray] = field(default_factory=dict)
    notes: dict[str, tuple[int, bool]] = field(default_factory=dict)
    stored: Counter = field(default_factory=Counter)
    masks_with: Counter = field(default_factory=Counter)
    examples: dict[int, list[Example]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Set all counts to 0."""
        values = max(VOID, self.num_classes) + 1
        self.pixels, self.images_with = np.zeros(values, np.int64), np.zeros(values, np.int64)

    def add(self, one: Checked, task: str | None = None) -> None:
        """Count one image. task: a further one, None for the first."""
        index, self.images = self.images, self.images + 1
        if task is not None and one.trouble is None:
            one = one._replace(counts=one.further[task])
        self.stored.update(one.stored)
        self.masks_with.update(one.stored.keys())
        if one.note[0] != 1:
            self.notes[one.name] = one.note
        if one.trouble is not None:
            self.troubles.append(one.trouble)
            return
        self.sizes[one.size] += 1
        self.pixels += one.counts
        self.images_with += one.counts > 0
        if one.look is not None:
            self.looks[one.name] = one.look
        if one.fits is not None:
            self.fits[one.name] = one.fits
        shows = tuple(np.flatnonzero(one.counts[: self.num_classes]).tolist())
        for c in shows:
            small = bool(one.counts[c] < SMALL * one.counts.sum())
            example = Example((small, crc32(one.name.encode())), index, shows)
            self.examples[c] = sorted([*self.examples.get(c, []), example])[:EXAMPLES]

    @property
    def void_share(self) -> float:
        """Fraction of pixels that are void; 0 if there are no pixels."""
        return float(self.pixels[-1] / max(1, self.pixels.sum()))

    def absent(self, class_names: Sequence[str]) -> list[str]:
        """Classes without a pixel in the labels that could be read; none if none could."""
        return [name for i, name in enumerate(class_names) if self.sizes and not self.pixels[i]]

    def facts(self, class_names: Sequence[str]) -> dict[str, object]:
        """The report as plain values."""
        labelled = max(1, int(self.pixels[:-1].sum()))
        classes = {
            name: {
                "pixels": int(self.pixels[i]),
                "share": float(self.pixels[i] / labelled),
                "images": int(self.images_with[i]),
            }
            for i, name in enumerate(class_names)
        }
        void = len(self.pixels) - 1
        return {
            "images": self.images,
            "unreadable": len(self.troubles),
            "troubles": self.troubles,
            "sizes": {f"{h}x{w}": n for (h, w), n in self.sizes.most_common()},
            "void_share": self.void_share,
            "values": {
                (i if i < void or void == VOID else "void"): int(n)
                for i, n in enumerate(self.pixels)
                if n
            },
            "classes": classes,
            "classes_without_pixels": self.absent(class_names),
        }


def check_one(samples: Samples, index: int, tasks: Sequence[Task]) -> Checked:
    """Read one image and its labels, and describe them."""
    name = samples.ids[index]
    stored: dict[Value, int] = {}
    if isinstance(samples, Pairs):
        with suppress(DataError):  # reported below
            stored = stored_values(samples.masks[name], samples.classes, own=samples.own)
    try:
        sample = samples[index]
    except DataError as error:
        return Checked(name, (0, 0), np.zeros(0, np.int64), str(error), stored=stored)
    assert sample.label is not None
    label = sample.label.numpy()
    first, *others = tasks
    counts = value_counts(label, len(first.classes))
    further = {t.name: value_counts(t.label_of(sample).numpy(), len(t.classes)) for t in others}
    size = (label.shape[0], label.shape[1])
    note = samples.note(index, size) if isinstance(samples, Pairs) else (1, False)
    trouble = None if counts[:-1].any() else f"{name}: every pixel of its label is void"
    facts = _picture_facts(sample, samples.shown)
    return Checked(name, size, counts, trouble, *facts, note, stored, further)


def _picture_facts(
    sample: Sample, shown: Sequence[int] | None
) -> tuple[Look | None, np.ndarray | None]:
    if not sample.fields.keys() & {"rgb", "bands"} or sample.label is None:
        return None, None
    if "bands" in sample.fields:
        picture = picture_of(sample.fields["bands"], shown)
    else:
        picture = sample.fields["rgb"].permute(1, 2, 0).numpy()
    return look_of(picture), fits_of(picture, sample.label.numpy())


def check_all(samples: Samples, workers: int, tasks: Sequence[Task]) -> Iterator[Checked]:
    """Check every image of a split, in order; workers: processes that read, 0 for this one."""
    one = partial(check_one, samples, tasks=tasks)
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


def shortened(names: Sequence[str], most: int = 6, what: str = "more classes") -> str:
    """Names in a row, the first ones of many."""
    more = f" and {len(names) - most} {what}" if len(names) > most else ""
    return ", ".join(names[:most]) + more
