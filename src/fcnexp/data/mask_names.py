"""Which mask belongs to which image, by a pattern such as NAME_mask.png."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fcnexp import IMAGE_SUFFIXES
from fcnexp.data.layouts import composed, others_in
from fcnexp.errors import DataError

_TRIED = 3  # images whose name is looked for in the masks' names
_EXAMPLE = "data.masks=NAME_mask.png, with NAME for the image's name"
# A word at the beginning or end of a name, as in img_001 or 001_sat, with what separates it.
_FIRST_WORD = re.compile(r"^[^\W\d_]+[_\-. ]?(?=.)")
_LAST_WORD = re.compile(r"(?<=.)[_\-. ](?=[^_\-. ]*[^\W\d_])[^_\-. ]+$")


class Pattern(NamedTuple):
    """Name of a mask: the image's name between two texts. suffix: with its dot, or any.

    lead, tail: what all images' names begin and end with, and masks' names have not.
    """

    before: str = ""
    after: str = ""
    suffix: str | None = None
    lead: str = ""
    tail: str = ""

    def of(self, name: str) -> str:
        """The mask's name without suffix."""
        return f"{self.before}{name.removeprefix(self.lead).removesuffix(self.tail)}{self.after}"

    def __str__(self) -> str:
        return f"{self.before}NAME{self.after}{self.suffix or '.png'}"

    @property
    def image(self) -> str:
        """Name of an image, for messages."""
        return f"{self.lead}NAME{self.tail}"


SAME = Pattern()


def read_pattern(text: str) -> Pattern:
    """Pattern of a text such as NAME_mask.png, or NAME_mask for any suffix. Raises DataError."""
    if text.count("NAME") != 1 or "/" in text or "\\" in text:
        raise DataError(f"masks={text}: must be a file name with NAME once; write {_EXAMPLE}")
    before, rest = text.split("NAME")
    after, dot, suffix = rest.rpartition(".")
    return Pattern(before, after, f".{suffix.lower()}") if dot else Pattern(before, suffix)


def masks_of(
    images: Mapping[str, Path],
    files: Sequence[Path],
    pattern: Pattern,
    *,
    folder: Path,
    all_used: bool,
    told: bool,
) -> dict[str, Path]:
    """The mask of each image, by the image's name.

    files: masks. folder: of the masks, for messages. all_used: refuse masks that belong to no
    image. told: whether the user gave the pattern; masks of other patterns may lie beside then.
    Raises DataError naming the first file without its other half.
    """
    found: dict[str, Path] = {}
    for path in files:
        name = composed(path.stem)
        if pattern.suffix is not None and path.suffix.lower() != pattern.suffix:
            continue
        if told and not (name.startswith(pattern.before) and name.endswith(pattern.after)):
            continue
        if name in found:
            raise DataError(
                f"{path}: {found[name].name} has the same name except for the extension; rename "
                f"one of them, or set data.masks={str(pattern).removesuffix('.png')}{path.suffix}"
            )
        found[name] = path
    if all_used:
        names = {pattern.of(name) for name in images}
        extra = [path for name, path in found.items() if name not in names]
        images_in = next(iter(images.values())).parent
        what = f"masks have no image in {images_in}{others_in(images_in, IMAGE_SUFFIXES)}"
        _refuse_alone(extra, len(found), what, pattern)
    alone = [path for name, path in images.items() if pattern.of(name) not in found]
    _refuse_alone(alone, len(images), f"images have no mask in {folder}", pattern)
    return {name: found[pattern.of(name)] for name in images}


def pattern_of(
    images: Mapping[str, Path], files: Sequence[Path], given: str | None, folder: Path
) -> Pattern:
    """The pattern that is given, or else the one that the masks' names follow. Raises DataError."""
    if given is not None:
        return _with_shared_ends(read_pattern(given), images, files)
    if images.keys() <= {composed(path.stem) for path in files}:
        return SAME
    return find_pattern(images, files, folder)


def find_pattern(images: Mapping[str, Path], files: Sequence[Path], folder: Path) -> Pattern:
    """The pattern by which most images have a mask; the same name if none is better.

    Raises DataError if two are as good.
    """
    stems = {composed(path.stem) for path in files}
    candidates = {SAME, *_patterns(list(images), stems)}
    if max(_matches(each, images, stems) for each in candidates) < len(images):
        candidates.update(_patterns_without_ends(list(images), stems))
    counts = Counter({each: _matches(each, images, stems) for each in candidates})
    if max(counts.values()) == counts[SAME]:
        return SAME
    best = [each for each, count in counts.items() if count == max(counts.values())]
    best.sort(key=lambda each: (len(each.lead + each.tail), each))
    named = {tuple(each.of(name) for name in images): str(each) for each in reversed(best)}
    if len(named) > 1:
        first, other = sorted(text.removesuffix(".png") for text in named.values())[:2]
        raise DataError(
            f"{folder}: masks may be {first} or {other}; choose with data.masks={first}.png"
        )
    return best[0]


def _patterns(names: Sequence[str], stems: Iterable[str]) -> Iterator[Pattern]:
    """Patterns by which one of the first images would have one of the masks."""
    for name in names[:_TRIED]:
        for stem in stems:
            before, found, after = stem.partition(name)
            # Of images 1 to 4, masks 11 to 14 would begin with 1.
            if found and any(sign.isalpha() for sign in before + after):
                yield Pattern(before, after)


def _patterns_without_ends(names: Sequence[str], stems: Iterable[str]) -> Iterator[Pattern]:
    """The same for images whose names share a word at the beginning or end: img_1 and mask_1."""
    for lead, tail in _shared_ends(names):
        for name in names[:_TRIED]:
            core = name.removeprefix(lead).removesuffix(tail)
            for stem in stems:
                before, found, after = stem.partition(core)
                if found and not before[-1:].isdigit() and not after[:1].isdigit():
                    yield Pattern(before, after, None, lead, tail)


def _shared_ends(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Words that all names begin and end with; one of both may be empty."""
    words = [pattern.search(names[0]) for pattern in (_FIRST_WORD, _LAST_WORD)]
    first, last = (word[0] if word else "" for word in words)
    for lead, tail in ((first, ""), ("", last), (first, last)):
        enough = all(len(name) > len(lead) + len(tail) for name in names)
        shared = all(name.startswith(lead) and name.endswith(tail) for name in names)
        if lead + tail and enough and shared:
            yield lead, tail


def _with_shared_ends(given: Pattern, images: Mapping[str, Path], files: Sequence[Path]) -> Pattern:
    """The pattern, with the ends of the images' names left out if only then masks fit."""
    stems = {composed(path.stem) for path in files}
    if not images or _matches(given, images, stems):
        return given
    others = [given._replace(lead=x, tail=y) for x, y in _shared_ends(list(images))]
    return next((each for each in others if _matches(each, images, stems)), given)


def _matches(pattern: Pattern, names: Collection[str], stems: set[str]) -> int:
    return sum(pattern.of(name) in stems for name in names)


def _refuse_alone(alone: list[Path], count: int, what: str, pattern: Pattern) -> None:
    if alone:
        raise DataError(
            f"{alone[0]}: {len(alone)} of {count} {what}, this one first; the mask of "
            f"images/{pattern.image}.jpg (or .png ...) is masks/{pattern}: rename, add or remove "
            f"files, or set another pattern, such as {_EXAMPLE}"
        )
