"""Data sets' archives: fetched or given, compared with their digest, unpacked safely."""

import hashlib
import os
import shutil
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fcnexp.errors import DataError
from fcnexp.system.atomic import sync, whole
from fcnexp.system.os_errors import let_through


class Archive(NamedTuple):
    """A published tar file. wanted: folders and files inside that are unpacked, from `base` on."""

    file: str
    url: str
    md5: str
    base: str
    wanted: tuple[str, ...]


# Places and digests: torchvision's VOCSegmentation and SBDataset.
VOC2012 = Archive(
    "VOCtrainval_11-May-2012.tar",
    "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    "6cd6e144f989b92b3379bac3b3de84fd",
    "VOCdevkit/VOC2012",
    ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"),
)
SBD = Archive(
    "benchmark.tgz",
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/"
    "benchmark.tgz",
    "82b4d87ceb2ed10f6038a1cba92111cb",
    "benchmark_RELEASE/dataset",
    ("img", "cls", "train.txt", "val.txt"),
)


def prepare_archive(
    archive: Archive, root: Path, given: Path | None, digest: str | None, say: Callable[[str], None]
) -> int:
    """Fetch an archive unless it is given, compare its digest, unpack it; returns files written.

    given: a local copy. digest: MD5 to compare with, the published one where None. What is there
    already in full is left alone, so that a run that was broken off goes on.
    Raises DataError.
    """
    path = given or fetch(archive, root, say)
    say(f"comparing the digest of {path}")
    verify(path, digest or archive.md5)
    return unpack(path, root, archive, say)


def fetch(archive: Archive, root: Path, say: Callable[[str], None]) -> Path:
    """Download an archive into root; what was fetched of it before is kept and gone on with.

    Raises DataError naming the file, its place, and how to do without.
    """
    target = root / archive.file
    if target.is_file():
        return target
    partial = root / f"{archive.file}.part"
    have = partial.stat().st_size if partial.is_file() else 0
    say(f"fetching {archive.url}" + (f" from byte {have}" if have else ""))
    try:
        root.mkdir(parents=True, exist_ok=True)
        _download(archive.url, partial, have)
    except (urllib.error.URLError, OSError) as error:
        let_through(error)
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"{archive.file}: could not be fetched from {archive.url} ({reason}); fetch it "
            "otherwise and give archive=FILE, or run the same command again"
        ) from None
    sync(partial)
    os.replace(partial, target)
    return target


def _download(url: str, partial: Path, have: int) -> None:
    """Add to a file what it lacks from byte `have` on. Raises URLError, OSError."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"})
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send: killed before the file's renaming
            return
        raise
    with answer:
        mode = "ab" if answer.status == 206 else "wb"  # 206: the server sends the rest only
        with partial.open(mode) as file:
            shutil.copyfileobj(answer, file, 2**20)
        if answer.length:  # of what it had announced; Python takes that for the end
            raise ConnectionError(f"{answer.length} bytes are missing")


def verify(path: Path, digest: str) -> None:
    """Raise DataError where a file's MD5 is another."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        let_through(error)
        raise DataError(f"archive={path}: cannot be read ({error.strerror})") from None
    if found != digest.strip().lower():
        raise DataError(
            f"archive={path}: its MD5 is {found}, not {digest}: cut short, damaged or another "
            f"file; fetch it again, or where you trust it give digest={found}"
        )


def unpack(path: Path, root: Path, archive: Archive, say: Callable[[str], None]) -> int:
    """Write the wanted files below root; returns how many were written.

    A member that would leave root, also by a link that lies there, a link, a device or more than
    the disk has room for ends it before anything is written. Raises DataError.
    """
    try:
        with tarfile.open(path) as tar:
            members = list(_wanted(tar, archive, path))
            if not members:
                raise DataError(f"archive={path}: holds no {archive.base}; give {archive.file}")
            _refuse_misplaced(members, root, path)
            say(f"unpacking {len(members)} files into {root}")
            return sum(_unpack_one(tar, member, root) for member in members)
    except (tarfile.TarError, EOFError, OSError) as error:
        let_through(error)
        words = " ".join(str(error).split())
        raise DataError(f"archive={path}: cannot be unpacked ({words})") from None


def _wanted(tar: tarfile.TarFile, archive: Archive, path: Path) -> Iterator[tarfile.TarInfo]:
    for member in tar:
        place = PurePosixPath(member.name)
        if place.is_absolute() or ".." in place.parts:
            raise DataError(f"archive={path}: {member.name} leaves its folder; do not trust it")
        inside = str(place).removeprefix(f"{archive.base}/")
        wanted = inside != str(place) and any(
            inside == name or inside.startswith(f"{name}/") for name in archive.wanted
        )
        if not wanted or member.isdir():
            continue
        if not member.isfile() or member.issparse():
            raise DataError(f"archive={path}: {member.name} is a link, device or sparse file")
        yield member


def _refuse_misplaced(members: list[tarfile.TarInfo], root: Path, path: Path) -> None:
    """Raise DataError where files would land outside of root, or not fit on its disk."""
    home, needed = root.resolve(), 0
    inside: dict[Path, bool] = {}
    for member in members:
        target = root / member.name
        if target.parent not in inside:
            inside[target.parent] = target.parent.resolve().is_relative_to(home)
        if not inside[target.parent]:
            raise DataError(
                f"archive={path}: {member.name} would be written to {target.parent.resolve()}, by "
                f"a link in {root}; remove the link, or give the folder it leads to as root"
            )
        needed += 0 if _is_there(target, member) else member.size
    there = next(place for place in (home, *home.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise DataError(
            f"archive={path}: unpacks to {needed / 1e9:.1f} GB, {root} has room for "
            f"{free / 1e9:.1f} GB; give another root"
        )


def _is_there(target: Path, member: tarfile.TarInfo) -> bool:
    return target.is_file() and target.stat().st_size == member.size


def _unpack_one(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> bool:
    """Write one file so that it is there whole or not at all; False where it was there."""
    target = root / member.name
    if _is_there(target, member):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    assert source is not None  # it is a file
    # Never through a link. A power cut leaves another size, and to wait for the disk takes long.
    with whole(target, lasting=False) as part, source, part.open("xb") as file:
        shutil.copyfileobj(source, file)
    return True
