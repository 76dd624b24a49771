"""Input images of `predict`, their other fields, and the names of its results."""

import sys
from collections.abc import Collection, Mapping
from glob import escape, glob
from pathlib import Path
from typing import TYPE_CHECKING

from fcnexp import IMAGE_SUFFIXES
from fcnexp.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from fcnexp.nn.bands import Bands

STDIN = "-"
SHARES = "shares.json"
_SILENT = (".ds_store", "thumbs.db", "desktop.ini", "__macosx")  # systems put them everywhere
_UNREAD = (  # images, but not for Pillow alone
    *(".heic", ".heif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".svg", ".pdf"),
    *(".psd", ".exr", ".hdr", ".nii", ".dcm"),
)
_BANDS_ONLY = ".npy"  # images for nets of bands alone
_NAMED = 3  # files left out, of one reason


def find_images(source: str, *, bands: bool = False) -> list[Path]:
    """Images named by a file, a folder, a pattern, or a list on standard input.

    bands: whether the net takes bands, so that .npy files are images.
    Sorted by name, or in the order of the list, which may name missing files. Raises ConfigError if
    there are none.
    """
    if source == STDIN:
        return _listed()
    place = Path(source).expanduser()
    if place.is_file():
        found = [place]
    elif place.is_dir():
        found = [path for path in place.iterdir() if _why_not(path, bands) is None]
    else:
        names = glob(_literal_first(place), recursive=True)
        found = [Path(name) for name in names if Path(name).is_file()]
    if not found:
        if not place.exists() and not set("*?[") & set(source):
            raise ConfigError(f"input={source}: no such file or folder")
        raise ConfigError(
            f"input={source}: no images found; give a file, a folder, a quoted pattern such as "
            f"'photos/*.jpg', or - to read a list from standard input (suffixes read from a "
            f"folder: {' '.join(IMAGE_SUFFIXES)})"
            f"{'; ' if place.is_dir() else ''}{left_out(source, bands=bands)}"
        )
    return sorted(found)


def left_out(source: str, *, bands: bool = False) -> str:
    """Say which files of an input folder are left out, and why; empty if none are, or no folder.

    bands: as of `find_images`.
    """
    place = Path(source).expanduser()
    if source == STDIN or not place.is_dir():
        return ""
    names: dict[str, list[str]] = {}
    for path in sorted(place.iterdir()):
        if path.name.lower() not in _SILENT and (why := _why_not(path, bands)) is not None:
            names.setdefault(why, []).append(path.name)
    reasons = [
        f"{', '.join(files[:_NAMED])}{f' and {len(files) - _NAMED} more' * (len(files) > _NAMED)}"
        f" ({why})"
        for why, files in names.items()
    ]
    return f"left out: {'; '.join(reasons)}" if reasons else ""


def _why_not(path: Path, bands: bool) -> str | None:
    """Reason why a file of a folder is not labelled; None if it is."""
    suffix = path.suffix.lower()
    if path.name.startswith("."):
        return "hidden"
    if path.is_dir():
        return "a folder; to label its images too, give a pattern such as 'photos/**/*.jpg'"
    if not path.is_file():
        return "not a regular file, or a link to none"
    if suffix == _BANDS_ONLY:
        return None if bands else f"{suffix} is not read; save it as JPEG or PNG"
    if suffix in _UNREAD:
        return f"{suffix} is not read; save it as JPEG or PNG"
    if suffix not in IMAGE_SUFFIXES:
        return "not an image by its name"
    return None if _pillow_reads(suffix) else f"Pillow here does not read {suffix}; save it as JPEG"


def _pillow_reads(suffix: str) -> bool:
    from PIL import Image

    return suffix in Image.registered_extensions()  # of the formats that Pillow was built with


def _literal_first(pattern: Path) -> str:
    """The pattern for `glob`, with folders that exist by this very name taken as they are.

    `photos [2024]` is a name, although brackets mean a choice of letters.
    """
    at, parts = Path(pattern.anchor), list(pattern.relative_to(pattern.anchor).parts)
    while parts and (at / parts[0]).exists():
        at /= parts.pop(0)
    return str(Path(escape(str(at))).joinpath(*parts))


def _listed() -> list[Path]:
    """Paths read from standard input, one per line; blank lines are skipped."""
    lines = [line.strip() for line in sys.stdin]
    found = [Path(line).expanduser() for line in lines if line]
    if not found:
        raise ConfigError(
            "input=-: standard input is empty; give one path per line, as in "
            "ls photos/*.jpg | python -m fcnexp.predict input=- ..."
        )
    return found


def refuse_mixing(source: str, output: Path) -> None:
    """Raise ConfigError if results would lie among the images of an input folder.

    The next command would take them for images.
    """
    place = Path(source).expanduser()
    if source != STDIN and place.is_dir() and place.resolve() == output.resolve():
        raise ConfigError(
            f"output={output}: this is the folder of the images, and the next command would take "
            f"the labels for images, too; choose another, such as output={output}_labels"
        )


def refuse_overwriting(images: list[Path], output: Path, endings: Collection[str]) -> None:
    """Raise ConfigError if a result would overwrite an image or the result of another image.

    endings: appended to an image's name to give the names of its results.
    """
    written: dict[Path, Path] = {}
    taken = {path.resolve() for path in images}
    for path in images:
        for name in (path.stem + ending for ending in endings):
            target = (output / name).resolve()
            if target in taken:
                raise ConfigError(
                    f"output={output}: {name} would overwrite an input image; choose another folder"
                )
            if target in written:
                raise ConfigError(
                    f"{path}: {name} is already the result of {written[target]}; rename one of them"
                )
            written[target] = path


def field_folders(given: Mapping[str, str | None], taken: Collection[str]) -> dict[str, Path]:
    """Folder of each field that a net takes in addition to colour. Raises ConfigError.

    given: folders by field, as typed. taken: fields of the net.
    """
    folders = {name: Path(text).expanduser() for name, text in given.items() if text is not None}
    for name in folders:
        if name not in taken:
            raise ConfigError(
                f"fields.{name}={folders[name]}: this net takes {', '.join(taken)}; remove it"
            )
    for name in taken:
        if name in ("rgb", "bands"):
            continue
        if name not in folders:
            raise ConfigError(
                f"fields.{name}: this net takes {', '.join(taken)}; set fields.{name}=FOLDER, with "
                "a PNG of the same name and size for each image"
            )
        if not folders[name].is_dir():
            raise ConfigError(f"fields.{name}={folders[name]}: no such folder")
    return folders


def read_size_of(path: Path, bands: "Bands | None") -> tuple[int, int]:
    """Height and width of an image, from its header. Raises DataError."""
    from fcnexp.data.bands import size_and_count, stored_bands
    from fcnexp.data.files import read_size

    if bands is None:
        return read_size(path, own=True)
    return size_and_count(stored_bands(path), bands.axes, path)[:2]


def picture_of_fields(fields: Mapping[str, "Tensor"], bands: "Bands | None") -> "np.ndarray":
    """Picture of what `read_fields` returned, uint8 (H, W, 3)."""
    from fcnexp.reporting.pictures import as_picture

    return as_picture(fields, None if bands is None else bands.rgb)


def read_fields(
    path: Path, folders: Mapping[str, Path], bands: "Bands | None" = None
) -> dict[str, "Tensor"]:
    """Read an image, upright, and its other fields, as stored, each (C, H, W), by name.

    bands: how to read bands, if the net takes them; they are then the only field. Raises DataError
    if one is missing, unreadable, or of a different size.
    """
    from fcnexp.data.files import check_sizes, read_depth, read_hha, read_rgb

    if bands is not None:
        from fcnexp.data.bands import read_bands

        count = bands.stored_channels
        return {"bands": read_bands(path, count=count, axes=bands.axes, nodata=bands.nodata)}
    readers = {"depth": read_depth, "hha": read_hha}
    fields, sizes = {"rgb": read_rgb(path, upright=True, own=True)}, {}
    sizes[path] = tuple(fields["rgb"].shape[-2:])
    for name, folder in folders.items():
        other = folder / f"{path.stem}.png"
        if not other.is_file():
            raise DataError(f"{other}: not found; {path} needs its {name} under this name")
        fields[name] = readers[name](other, own=True)
        sizes[other] = tuple(fields[name].shape[-2:])
    check_sizes(sizes)
    return fields
