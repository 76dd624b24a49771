"""A first look at custom data, before a run starts: what would train wrongly, or not at all.

A run must not wait for it, so it stops after half a second, but at least a few files; `prepare
check` counts everything.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from fcnexp import VOID
from fcnexp.data.checking import absent_text, shortened
from fcnexp.data.files import opened
from fcnexp.data.orientation import telling_nothing, untold
from fcnexp.data.pairs import Pairs
from fcnexp.data.sample import value_counts
from fcnexp.errors import DataError

log = logging.getLogger(__name__)

SECONDS = 0.5
_LEAST = 4  # files


def look_at(pairs: Pairs, split: str, seconds: float = SECONDS) -> None:
    """Warn of classes without a pixel in a split, and refuse what nobody can have meant.

    Raises DataError if an image's orientation decides its mask's but nothing tells how, or if the
    masks of two classes are 0 and 255 without a word that 255 is a class or void.
    """
    if pairs.upright is None and pairs.bands is None:
        for index in _sampled(len(pairs), seconds):
            _refuse_untold(pairs.images[pairs.ids[index]], own=pairs.own)
    seen, count = _values_seen(pairs, seconds)
    names = pairs.classes.names
    missing = [name for index, name in enumerate(names) if not seen[index]]
    if not missing or not count:
        return
    if _zeros_and_255(pairs, seen):
        raise DataError(_say_values(pairs))
    if count == len(pairs):
        log.warning("%s", absent_text(missing, f"any mask of {split}"))
    else:
        log.info(
            "%s: no pixel of %s in %d of %d masks; `prepare check` reads them all",
            split,
            shortened(missing),
            count,
            len(pairs),
        )


def _values_seen(pairs: Pairs, seconds: float) -> tuple[np.ndarray, int]:
    """Whether each class or void is in the masks, bool, and how many masks were read.

    Reads until every class is found or time is up; all masks while 0 and 255 are all that two
    undeclared classes show.
    """
    start, classes = time.monotonic(), len(pairs.classes.names)
    seen, count = np.zeros(max(VOID, classes) + 1, bool), 0
    for index in _order(len(pairs)):
        late = time.monotonic() - start > seconds and count >= _LEAST
        if seen[:classes].all() or (late and not _zeros_and_255(pairs, seen)):
            break
        with suppress(DataError):  # whoever reads the file as a sample reports it
            seen |= value_counts(pairs.read_label(index).numpy(), classes) > 0
            count += 1
    return seen, count


def _refuse_untold(path: Path, *, own: bool) -> None:
    orientation = 1
    # Damaged files are reported when they are read.
    with suppress(DataError), opened(path, own=own) as image:
        orientation = telling_nothing(image)
    if orientation != 1:
        raise DataError(untold(path, orientation))


def _zeros_and_255(pairs: Pairs, seen: np.ndarray) -> bool:
    found = np.flatnonzero(seen).tolist()
    undeclared = not pairs.classes.values and not pairs.classes.colours
    return len(pairs.classes.names) == 2 and undeclared and found == [0, VOID]


def _say_values(pairs: Pairs) -> str:
    first, second = pairs.classes.names
    return (
        f"{pairs.masks[pairs.ids[0]]}: this and all other masks hold 0 and 255 alone, and 255 is "
        f"void unless {pairs.classes.source} says otherwise, so {second} would have no pixel; write"
        f" these two lines in classes.yaml: `values: {{{first}: 0, {second}: 255}}` and `void: "
        "null`; or `void: 255` if 255 does mean void"
    )


def _order(count: int) -> list[int]:
    """All places in a random order that never changes: neighbouring files are often alike."""
    return np.random.default_rng(0).permutation(count).tolist()


def _sampled(count: int, seconds: float) -> Iterator[int]:
    """Places in a random order, until time is up."""
    start = time.monotonic()
    for done, index in enumerate(_order(count)):
        if time.monotonic() - start > seconds and done >= _LEAST:
            return
        yield index
