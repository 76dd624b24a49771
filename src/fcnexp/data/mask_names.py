"""Which mask belongs to which image, by a pattern such as NAME_mask.png."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fcnexp.data.layouts import composed
from fcnexp.errors import DataError

_TRIED = 3  # images whose name is looked for in the masks' names
_EXAMPLE = "data.masks=NAME_mask.png, with NAME for the image's name"


class Pattern(NamedTuple):
    """Name of a mask: the image's name between two texts. suffix: with its dot, or any."""

    before: str = ""
    after: str = ""
    suffix: str | None = None

    def of(self, name: str) -> str:
        """The mask's name without suffix."""
        return f"{self.before}{name}{self.after}"

    def __str__(self) -> str:
        return f"{self.of('NAME')}{self.suffix or '.png'}"


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
) -> dict[str, Path]:
    """The mask of each image, by the image's name.

    files: masks. folder: of the masks, for messages. all_used: refuse masks that belong to no
    image. Raises DataError naming the first file without its other half.
    """
    found: dict[str, Path] = {}
    for path in files:
        if pattern.suffix is not None and path.suffix.lower() != pattern.suffix:
            continue
        name = composed(path.stem)
        if name in found:
            raise DataError(
                f"{path}: {found[name].name} has the same name except for the extension; rename "
                f"one of them, or set data.masks={pattern.of('NAME')}{path.suffix}"
            )
        found[name] = path
    if all_used:
        names = {pattern.of(name) for name in images}
        extra = [path for name, path in found.items() if name not in names]
        images_in = next(iter(images.values())).parent
        _refuse_alone(extra, len(found), f"masks have no image in {images_in}", pattern)
    alone = [path for name, path in images.items() if pattern.of(name) not in found]
    _refuse_alone(alone, len(images), f"images have no mask in {folder}", pattern)
    return {name: found[pattern.of(name)] for name in images}


def pattern_of(
    images: Mapping[str, Path], files: Sequence[Path], given: str | None, folder: Path
) -> Pattern:
    """The pattern that is given, or else the one that the masks' names follow. Raises DataError."""
    if given is not None:
        return read_pattern(given)
    if images.keys() <= {composed(path.stem) for path in files}:
        return SAME
    return find_pattern(images, files, folder)


def find_pattern(images: Mapping[str, Path], files: Sequence[Path], folder: Path) -> Pattern:
    """The pattern by which most images have a mask; the same name if none is better.

    Raises DataError if two are as good.
    """
    stems = {composed(path.stem) for path in files}
    candidates = {SAME}
    for name in list(images)[:_TRIED]:
        for stem in stems:
            before, found, after = stem.partition(name)
            # Of images 1 to 4, masks 11 to 14 would begin with 1.
            if found and any(sign.isalpha() for sign in before + after):
                candidates.add(Pattern(before, after))
    counts = Counter({each: _matches(each, images, stems) for each in candidates})
    best, second = [*counts.most_common(2), (SAME, 0)][:2]
    if best[1] == counts[SAME]:
        return SAME
    if best[1] == second[1]:
        first, other = sorted((best[0].of("NAME"), second[0].of("NAME")))
        raise DataError(
            f"{folder}: masks may be {first} or {other}; choose with data.masks={first}.png"
        )
    return best[0]


def _matches(pattern: Pattern, names: Collection[str], stems: set[str]) -> int:
    return sum(pattern.of(name) in stems for name in names)


def _refuse_alone(alone: list[Path], count: int, what: str, pattern: Pattern) -> None:
    if alone:
        raise DataError(
            f"{alone[0]}: {len(alone)} of {count} {what}, this one first; the mask of "
            f"images/NAME.jpg (or .png ...) is masks/{pattern}: rename, add or remove files, or "
            f"set another pattern, such as {_EXAMPLE}"
        )
