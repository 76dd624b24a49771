"""Lists of custom data: names, file names, paths, or pairs of image and mask."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from fcnexp import IMAGE_SUFFIXES
from fcnexp.data.folders import list_files
from fcnexp.data.layouts import HALVES, composed, others_in
from fcnexp.data.lists import read_lines, refuse_repeated
from fcnexp.errors import DataError

_COLUMNS = ("\t", ",", ";")
_HEADER = {"image", "images", "img", "file", "filename", "name", "mask", "masks", "label"}

_VOC_LISTS = "ImageSets/Segmentation"


def find_lists(base: Path) -> dict[str, Path]:
    """Lists of the splits `train` and `val`, if the folder or its ImageSets/Segmentation has any.

    Named like `layouts.HALVES`, in any case, as CVAT's Train.txt. Those of the folder come first.
    """
    for place in (base, base / _VOC_LISTS):
        files = {path.stem.lower(): path for path in sorted(place.glob("*.[tT][xX][tT]"))}
        found = {
            half: files[name] for half, names in HALVES.items() for name in names if name in files
        }
        if found:
            return found
    return {}


def list_named(base: Path, half: str, split: str | None, found: Mapping[str, Path]) -> Path:
    """List of a split: by name or path, or the one of `find_lists` if `split` is None.

    Raises DataError naming the lists that are there.
    """
    if split is None and half in found:
        return found[half]
    places = [base, base / _VOC_LISTS]
    for path in (path for place in places for path in list_files(place, split or half)):
        if path.is_file():
            return path
    if split is None and found:
        (other,) = found.values()
        raise DataError(
            f"{other.parent}: has {other.name}, but no list of the {half} images; write "
            f"{half}.txt beside it, a file name in each line"
        )
    known = sorted({path.stem for place in places for path in place.glob("*.txt")})
    raise DataError(
        f"{split or half}: no such list in {base} (it has {', '.join(known) or 'none'}); set "
        f"data.{half}_split to the name or path of a list, a file name in each line"
    )


class _Known:
    """Files by name, with and without extension."""

    def __init__(self, files: Iterable[Path]) -> None:
        self.by_name: dict[str, Path] = {}
        for path in files:
            self.by_name.setdefault(composed(path.stem), path)
        self.by_file = {composed(path.name): path for path in self.by_name.values()}

    def find(self, text: str) -> Path | None:
        """The file that a name or path stands for; the last folder of a path must be its own."""
        text = composed(text.strip().strip("\"'"))
        found = self.by_name.get(text) or self.by_file.get(text)
        if found is not None:
            return found
        folder, slash, name = text.replace("\\", "/").rpartition("/")
        found = self.by_name.get(name) or self.by_file.get(name)
        if not slash or found is None:
            return None
        last = folder.rpartition("/")[2]
        return found if last in (composed(found.parent.name), ".", "") else None


def read_listed(
    path: Path, images: Mapping[str, Path], masks: Sequence[Path]
) -> tuple[list[str], dict[str, Path]]:
    """Names of the listed images, in order, and the masks that a second column gives, by name.

    A line is a name, which may contain spaces, a file name, a path that ends in the image's folder
    and file, or two of these, of image and mask. Raises DataError if a line names no image, or one
    is listed twice.
    """
    lines = read_lines(path, "list one image per line")
    known, known_masks = _Known(images.values()), _Known(masks)
    ids: list[str] = []
    given: dict[str, Path] = {}
    unknown: list[str] = []
    for line in lines:
        if (image := known.find(line)) is not None:
            ids.append(composed(image.stem))
        elif (pair := _pair(line, known, known_masks)) is not None:
            name = composed(pair[0].stem)
            ids.append(name)
            given[name] = pair[1]
        elif line is not lines[0] or not set(re.split(r"[\s,;_]+", line.lower())) <= _HEADER:
            unknown.append(line)
    if unknown or not ids:
        example = next(iter(images.values()))
        others = others_in(example.parent, IMAGE_SUFFIXES)
        raise DataError(
            f"{path}: {(unknown or lines)[0]}: no such image ({len(unknown or lines)} of "
            f"{len(lines)} lines name none); list file names in images, such as {example.name}, or "
            f"images and masks in two columns{others}"
        )
    refuse_repeated(ids, path)
    return ids, given


def _pair(line: str, images: _Known, masks: _Known) -> tuple[Path, Path] | None:
    for left, right in _columns(line):
        image, mask = images.find(left), masks.find(right)
        if image is not None and mask is not None:
            return image, mask
    return None


def _columns(line: str) -> Iterator[tuple[str, str]]:
    for sign in _COLUMNS:
        if line.count(sign) == 1:
            left, _, right = line.partition(sign)
            yield left, right
    for space in re.finditer(r" +", line):  # names may contain spaces, too
        yield line[: space.start()], line[space.end() :]
