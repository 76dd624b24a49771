"""Which photographs `predict` labels, their other fields, and where results go."""

import sys
from collections.abc import Collection, Mapping
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

from fcnexp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor

STDIN = "-"
SHARES = "shares.json"


def find_photographs(source: str) -> list[Path]:
    """Photographs that a file, folder, pattern, or a list on the standard input names.

    In order of name, or of the list, which may name what is missing. Raises ConfigError where
    there are none.
    """
    from fcnexp.data.files import SUFFIXES

    if source == STDIN:
        return _listed()
    place = Path(source).expanduser()
    if place.is_file():
        found = [place]
    elif place.is_dir():
        found = [path for path in place.iterdir() if path.suffix.lower() in SUFFIXES]
    else:
        names = glob(str(place), recursive=True)
        found = [Path(name) for name in names if Path(name).is_file()]
    if not found:
        raise ConfigError(
            f"input={source}: no photographs there; give a file, a folder, a quoted pattern, say "
            f"'photos/*.jpg', or - for a list on the standard input (of a folder these are taken: "
            f"{' '.join(SUFFIXES)})"
        )
    return sorted(found)


def _listed() -> list[Path]:
    """Paths on the standard input, one a line; blank lines are skipped."""
    lines = [line.strip() for line in sys.stdin]
    found = [Path(line).expanduser() for line in lines if line]
    if not found:
        raise ConfigError(
            "input=-: the standard input is empty; give one path a line, as in "
            "ls photos/*.jpg | python -m fcnexp.predict input=- ..."
        )
    return found


def refuse_overwriting(photographs: list[Path], output: Path, endings: Collection[str]) -> None:
    """Raise ConfigError where a result would replace a photograph or another's result.

    endings: what follows a photograph's name in the names of its results.
    """
    written: dict[Path, Path] = {}
    taken = {path.resolve() for path in photographs}
    for path in photographs:
        for name in (path.stem + ending for ending in endings):
            target = (output / name).resolve()
            if target in taken:
                raise ConfigError(
                    f"output={output}: {name} would replace a photograph; choose another"
                )
            if target in written:
                raise ConfigError(
                    f"{path}: {name} is the result of {written[target]} already; rename one"
                )
            written[target] = path


def field_folders(given: Mapping[str, str | None], taken: Collection[str]) -> dict[str, Path]:
    """Folder of each field that a net takes beside colour. Raises ConfigError.

    given: folders by field, as typed. taken: fields of the net.
    """
    folders = {name: Path(text).expanduser() for name, text in given.items() if text is not None}
    for name in folders:
        if name not in taken:
            raise ConfigError(
                f"fields.{name}={folders[name]}: this net takes {', '.join(taken)}; leave it out"
            )
    for name in taken:
        if name == "rgb":
            continue
        if name not in folders:
            raise ConfigError(
                f"fields.{name}: this net takes {', '.join(taken)}; say fields.{name}=FOLDER, with "
                "a PNG for each photograph, of the same name and size"
            )
        if not folders[name].is_dir():
            raise ConfigError(f"fields.{name}={folders[name]}: no such folder")
    return folders


def read_fields(path: Path, folders: Mapping[str, Path]) -> dict[str, "Tensor"]:
    """A photograph, upright, and its other fields, as stored, each (C, H, W), by name.

    Raises DataError where one is missing, unreadable, or of another size.
    """
    from fcnexp.data.files import check_sizes, read_depth, read_hha, read_rgb

    readers = {"depth": read_depth, "hha": read_hha}
    fields, sizes = {"rgb": read_rgb(path, upright=True)}, {}
    sizes[path] = tuple(fields["rgb"].shape[-2:])
    for name, folder in folders.items():
        other = folder / f"{path.stem}.png"
        if not other.is_file():
            raise DataError(f"{other}: no {name} of {path}; it goes by the photograph's name")
        fields[name] = readers[name](other)
        sizes[other] = tuple(fields[name].shape[-2:])
    check_sizes(sizes)
    return fields
