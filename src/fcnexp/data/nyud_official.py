"""Conversion of the official `nyu_depth_v2_labeled.mat` to the papers' layout, image by image.

The file is MATLAB v7.3, which is HDF5. h5py reverses the axes: MATLAB's 480x640x1449 becomes
(1449, 640, 480). Images are transposed, never rotated or mirrored.
"""

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import scipy.io
from PIL import Image

from fcnexp.data.hha import NYUD_CROP, NYUD_INTRINSICS, crop_intrinsics, encode_hha
from fcnexp.data.nyud import CLASS_NAMES
from fcnexp.data.nyud_facts import (
    COUNT,
    CROP,
    FIRST_ID,
    NAMES_SHA256,
    OTHERFURNITURE,
    OTHERSTRUCTURE,
)
from fcnexp.errors import DataError
from fcnexp.system.atomic import atomic_file
from fcnexp.system.os_errors import reraise_system_error

FRAME = (640, 480)  # in h5py: columns, rows
VARIABLES = {  # name: dimensions of one image in h5py, type
    "images": ((3, *FRAME), np.uint8),
    "depths": (FRAME, np.float32),
    "rawDepths": (FRAME, np.float32),
    "labels": (FRAME, np.uint16),
}


class Frame(NamedTuple):
    """One image without its white frame, 425x560.

    rgb uint8 (H, W, 3); depth uint16 (H, W) in-painted, millimetres; raw_depth likewise, 0 where
    the sensor has no value; label uint8 (H, W), 0 void, 1 to 40 classes.
    """

    rgb: np.ndarray
    depth: np.ndarray
    raw_depth: np.ndarray
    label: np.ndarray


class OfficialFile:
    """The open file. Raises DataError naming a variable that differs from the published file."""

    def __init__(self, path: Path) -> None:
        try:
            import h5py
        except ImportError:
            raise DataError(f"mat={path}: needs h5py; type pip install -e '.[nyud]'") from None
        self.path = path
        try:
            self.file = h5py.File(path, "r")
        except FileNotFoundError:
            raise DataError(f"mat={path}: no such file; use nyu_depth_v2_labeled.mat") from None
        except OSError as error:
            reraise_system_error(error)
            raise DataError(f"mat={path}: damaged or not MATLAB v7.3 ({error})") from None
        try:
            self.count = self._check_variables()
            self.class_of = class_table(self._names())
        except DataError:
            self.file.close()
            raise

    def __enter__(self) -> "OfficialFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.file.close()

    def frame(self, place: int) -> Frame:
        """One image, by its index from 0. Raises DataError on impossible values."""
        stored = {name: self.file[name][place] for name in VARIABLES}
        label = stored["labels"].T
        if label.max(initial=0) >= len(self.class_of):
            raise DataError(
                f"mat={self.path}: labels[{place}] contains {label.max()}; allowed are 0 to 894"
            )
        return Frame(
            np.ascontiguousarray(stored["images"].transpose(2, 1, 0)[CROP]),
            millimetres(stored["depths"].T[CROP], f"mat={self.path}: depths[{place}]"),
            millimetres(stored["rawDepths"].T[CROP], f"mat={self.path}: rawDepths[{place}]"),
            self.class_of[label[CROP]],
        )

    def _check_variables(self) -> int:
        counts = {}
        for name, (shape, kind) in VARIABLES.items():
            found = self.file.get(name)
            if found is None or not hasattr(found, "shape"):
                there = ", ".join(sorted(key for key in self.file if not key.startswith("#")))
                raise DataError(f"mat={self.path}: no variable {name}; the file has {there}")
            if len(found.shape) != len(shape) + 1 or found.shape[1:] != shape:
                raise DataError(
                    f"mat={self.path}: {name} is {found.shape} in h5py, not {('N', *shape)}; use "
                    "nyu_depth_v2_labeled.mat as published"
                )
            if found.dtype != kind:
                raise DataError(
                    f"mat={self.path}: {name} is {found.dtype}, not {np.dtype(kind)}; use "
                    "nyu_depth_v2_labeled.mat as published"
                )
            counts[name] = found.shape[0]
        if len(set(counts.values())) > 1 or not 1 <= counts["images"] <= COUNT:
            raise DataError(
                f"mat={self.path}: {counts} images; the numbers must be equal and at most {COUNT}"
            )
        return counts["images"]

    def _names(self) -> list[str]:
        """The 894 names, each stored as a reference to its character codes."""
        found: Any = self.file.get("names")
        if found is None or getattr(found, "shape", None) != (1, 894):
            shape = getattr(found, "shape", "missing")
            raise DataError(f"mat={self.path}: names is {shape}, not (1, 894)")
        return ["".join(map(chr, self.file[ref][:].ravel())) for ref in found[0]]


def class_table(names: list[str]) -> np.ndarray:
    """Class 1 to 40 of each label, uint8 (895,); 0, unlabelled, stays 0.

    Raises DataError if the names are not the official ones, as labels would then be different.
    """
    if hashlib.sha256("\n".join(names).encode()).hexdigest() != NAMES_SHA256:
        raise DataError("names are not the 894 official ones, so labels cannot be mapped")
    table = np.full(len(names) + 1, CLASS_NAMES.index("otherprop") + 1, np.uint8)
    table[0] = 0
    for label, name in enumerate(names, start=1):
        if name in CLASS_NAMES:
            table[label] = CLASS_NAMES.index(name) + 1
    table[list(OTHERSTRUCTURE)] = CLASS_NAMES.index("otherstructure") + 1
    table[list(OTHERFURNITURE)] = CLASS_NAMES.index("otherfurniture") + 1
    return table


def millimetres(metres: np.ndarray, what: str) -> np.ndarray:
    """Depth as in the papers' PNGs, uint16: the float32 product, halves rounded up.

    what: name for messages. Raises DataError on values that are negative, not finite or > 65.5 m.
    """
    product = metres.astype(np.float32) * np.float32(1000)
    rounded = np.floor(product.astype(np.float64) + 0.5)
    if not np.isfinite(rounded).all() or rounded.min() < 0 or rounded.max() > 65535:
        raise DataError(f"{what}: depth must be 0 to 65.5 metres")
    return rounded.astype(np.uint16)


def convert(path: Path, place: int, root: Path) -> None:
    """Write one image's files in the papers' layout, atomically, the label last."""
    with OfficialFile(path) as official:
        frame = official.frame(place)
    name = f"img_{FIRST_ID + place}"
    missing = frame.raw_depth == 0
    hha = encode_hha(frame.depth / 1000, missing, crop_intrinsics(NYUD_INTRINSICS, *NYUD_CROP))
    fields = {"images": frame.rgb, "depth": frame.depth, "rawdepth": frame.raw_depth, "hha": hha}
    for folder, pixels in fields.items():
        target = root / "data" / folder / f"{name}.png"
        _write(target, lambda p, pixels=pixels: Image.fromarray(pixels).save(p, format="PNG"))
    label = {"segmentation": frame.label}
    target = root / "segmentation" / f"{name}.mat"
    _write(target, lambda p: scipy.io.savemat(p, label, appendmat=False, do_compression=True))


def is_converted(place: int, root: Path) -> bool:
    """True if all files of an image exist; its label is written last."""
    return (root / "segmentation" / f"img_{FIRST_ID + place}.mat").is_file()


def _write(target: Path, save: Any) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target) as part:
        save(part)
