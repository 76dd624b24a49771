"""Labelled photographs in the layouts of VOC and SBD: the user's, or generated ones of VOC's sizes.

Both are in the folders that torchfcn expects: `VOC/VOCdevkit/VOC2012` and
`VOC/benchmark_RELEASE/dataset` below a root.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import scipy.io
from PIL import Image

from fcnexp.config.schema import BenchConfig
from fcnexp.data.folders import find_layout
from fcnexp.data.generated.cache import written_once
from fcnexp.data.generated.shapes import scene
from fcnexp.data.palette import save_indexed
from fcnexp.errors import DataError
from fcnexp.system import this_process

VERSION = 1  # of the generated files; a change invalidates folders in the cache
# Height and width, about as frequent as in VOC, without long runs of one size.
SIZES = (
    *((375, 500), (333, 500), (375, 500), (500, 375), (375, 500), (332, 500), (500, 333)),
    *((334, 500), (375, 500), (500, 375), (281, 500), (375, 500), (500, 442), (360, 480)),
    *((375, 500), (353, 500), (500, 332), (366, 500), (375, 500), (400, 500)),
)
QUALITY = 90  # of the JPEGs; gives about the file sizes of VOC


class Photographs(NamedTuple):
    """Labelled photographs. root: folder given to torchfcn. description: for titles."""

    root: Path
    voc_ids: list[str]
    sbd_ids: list[str]
    description: str

    @property
    def voc(self) -> Path:
        """Folder of JPEGImages, SegmentationClass and ImageSets."""
        return self.root / "VOC" / "VOCdevkit" / "VOC2012"

    @property
    def sbd(self) -> Path:
        """Folder of img, cls and lists."""
        return self.root / "VOC" / "benchmark_RELEASE" / "dataset"


@contextmanager
def photographs(asked: BenchConfig) -> Iterator[Photographs]:
    """Yield `asked.images` of each kind, in a temporary folder. Raises DataError."""
    made = None if asked.voc and asked.sbd else generated(asked.images)
    voc_layout, sbd_layout = ("JPEGImages", "SegmentationClass"), ("img", "cls")
    with TemporaryDirectory() as folder:
        voc = find_layout(Path(asked.voc), voc_layout, "voc") if asked.voc else made
        sbd = find_layout(Path(asked.sbd), sbd_layout, "sbd") if asked.sbd else made
        assert voc is not None and sbd is not None
        found = Photographs(
            Path(folder),
            spread(common(voc / "JPEGImages", voc / "SegmentationClass", ".png"), asked.images),
            spread(common(sbd / "img", sbd / "cls", ".mat"), asked.images),
            "photographs" if made is None else "generated photographs",
        )
        link(found.voc, voc, voc_layout)
        link(found.sbd, sbd, sbd_layout)
        write_list(found.voc / "ImageSets" / "Segmentation", "val", found.voc_ids)
        write_list(found.sbd, "val", found.sbd_ids)
        yield found


def common(images: Path, labels: Path, suffix: str) -> list[str]:
    """Ids that have both an image and a label. Raises DataError if there are none."""
    labelled = {path.stem for path in labels.iterdir() if path.suffix == suffix}
    ids = sorted(p.stem for p in images.iterdir() if p.suffix == ".jpg" and p.stem in labelled)
    if not ids:
        raise DataError(f"{images}: no image has a label in {labels}; give another folder")
    return ids


def spread(ids: Sequence[str], count: int) -> list[str]:
    """Return `count` evenly spaced ids, or all if there are fewer."""
    count = min(count, len(ids))
    return [ids[i * len(ids) // count] for i in range(count)]


def link(folder: Path, source: Path, names: Sequence[str]) -> None:
    """Create symbolic links to a source's folders."""
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).symlink_to((source / name).resolve(), target_is_directory=True)


def write_list(folder: Path, split: str, ids: Sequence[str]) -> None:
    """Write a split's list, and a `train` list, which torchfcn requires."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in {split, "train"}:
        (folder / f"{name}.txt").write_text("".join(f"{one}\n" for one in ids))


def generated(count: int) -> Path:
    """Return a folder of `count` generated photographs below FCNEXP_CACHE, written on first use."""
    home = Path(os.environ.get("FCNEXP_CACHE", "~/.cache/fcnexp")).expanduser()
    made_from = {"version": VERSION, "count": count}
    return written_once(home / f"bench-{count}", made_from, "bench", _write_all)


def _write_all(folder: Path, made_from: dict[str, Any]) -> None:
    for name in ("JPEGImages", "SegmentationClass", "cls"):
        (folder / name).mkdir(parents=True)
    (folder / "img").symlink_to("JPEGImages", target_is_directory=True)
    with ProcessPoolExecutor(this_process.cores()) as pool:
        list(pool.map(partial(_write, folder), range(made_from["count"])))


def _write(folder: Path, index: int) -> None:
    """Write the three files of one scene, cropped to one of VOC's sizes."""
    height, width = SIZES[index % len(SIZES)]
    image, label = scene(0, "val", index, (max(height, width),) * 2)
    name = f"scene_{index:04d}"
    jpeg = folder / "JPEGImages" / f"{name}.jpg"
    Image.fromarray(image[:height, :width]).save(jpeg, quality=QUALITY)
    label = np.ascontiguousarray(label[:height, :width])
    save_indexed(folder / "SegmentationClass" / f"{name}.png", label)
    struct = {"GTcls": {"Segmentation": label}}
    scipy.io.savemat(folder / "cls" / f"{name}.mat", struct, do_compression=True)
