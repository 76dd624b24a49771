"""The file `bands.yaml`, which describes the bands of custom data; `prepare bands` writes it.

It is read when a config is composed, so that the numbers count as settings of the run, and by the
reader of the images, which refuses it if it is of other training images.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from fcnexp.errors import DataError
from fcnexp.system.atomic import write_atomically
from fcnexp.system.bounded import read_yaml
from fcnexp.system.os_errors import reraise_system_error

NAME = "bands.yaml"
ORDERS = ("hwc", "chw")  # of an array's axes
_HEAD = """\
# Written by `python -m fcnexp.prepare bands`. Type that again after any change of the training
# images. Bands count from 1. axes: of arrays (hwc, chw) whose file does not say it; null: all say.
# nodata: stored value of missing pixels. rgb: bands of red, green and blue. mean, std: of each band
# over the training images, without missing pixels.
"""


@dataclass(frozen=True)
class BandsFile:
    """Content of bands.yaml.

    axes: `hwc` or `chw`, order of arrays whose file does not say it; None if all say it. nodata:
    stored value of missing pixels, None if there is none. rgb: bands of red, green and blue, from
    1; None if not given. mean, std: per band. images: number of training images. files: digest of
    their names and sizes, see `digest_of`. written: when, seconds since 1970.
    """

    axes: str | None
    nodata: float | None
    rgb: list[int] | None
    mean: list[float]
    std: list[float]
    images: int
    files: str
    written: float

    @property
    def count(self) -> int:
        """Number of bands in each file."""
        return len(self.mean)

    @property
    def told(self) -> str:
        """Options of `prepare bands` that give the same axes, nodata and rgb, after spaces."""
        rgb = None if self.rgb is None else str(self.rgb).replace(" ", "")
        told = {"axes": self.axes, "nodata": self.nodata, "rgb": rgb}
        return "".join(f" {key}={value}" for key, value in told.items() if value is not None)


KEYS = tuple(field.name for field in fields(BandsFile))


def place_of(root: str | Path, given: str | Path | None) -> Path:
    """Path of the file: as given by `data.bands`, else in the folder of the data."""
    return Path(given or Path(root) / NAME).expanduser()


def how_to_write(root: object, given: object = None) -> str:
    """The command that writes the file."""
    place = f" data.bands={given}" if given else ""
    return f"python -m fcnexp.prepare bands data=folder data.root={root}{place}"


def read_bands_file(path: Path, command: str) -> BandsFile:
    """Read bands.yaml. command: that writes it. Raises DataError saying what to type."""
    try:
        content = read_yaml(path)
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; it holds mean and deviation of each band: type {command}"
        ) from None
    except OSError as error:
        reraise_system_error(error)
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{path}: {error}; write it again: {command}") from None
    if not isinstance(content, dict) or set(content) != set(KEYS):
        raise DataError(f"{path}: must have the keys {', '.join(KEYS)}; write it again: {command}")
    if wrong := _wrong(content):
        raise DataError(f"{path}: {wrong}={content[wrong]}: damaged; write it again: {command}")
    return BandsFile(**content)


def write_bands_file(path: Path, found: BandsFile) -> None:
    """Write bands.yaml."""
    text = yaml.safe_dump(asdict(found), sort_keys=False, default_flow_style=None, width=100)
    write_atomically(path, _HEAD + text)


def digest_of(files: Mapping[str, Path]) -> str:
    """Digest of the names of images and the sizes of their files in bytes. Raises OSError."""
    lines = [f"{name} {path.stat().st_size}" for name, path in sorted(files.items())]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]


def _wrong(content: dict[str, Any]) -> str | None:
    """Key whose value cannot be right; None if there is none."""
    mean, std, rgb, nodata = (content[key] for key in ("mean", "std", "rgb", "nodata"))
    sound = {
        "axes": content["axes"] in (None, *ORDERS),
        "nodata": nodata is None or _is_number(nodata),
        "mean": isinstance(mean, list) and bool(mean) and all(map(_is_number, mean)),
        "std": isinstance(std, list)
        and isinstance(mean, list)
        and len(std) == len(mean)
        and all(_is_number(value) and value >= 0 for value in std),
        "images": type(content["images"]) is int,
        "files": isinstance(content["files"], str),
        "written": _is_number(content["written"]),
    }
    sound["rgb"] = rgb is None or (
        isinstance(rgb, list) and len(rgb) == 3 and all(type(band) is int for band in rgb)
    )
    return next((key for key, fine in sound.items() if not fine), None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)
