"""ZIP files read through the methods of `tarfile` that `archives` uses."""

import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

UNIX = 3  # system that wrote an entry, whose upper attributes are a file's mode


class ZipMember:
    """One entry, like a `tarfile.TarInfo`."""

    def __init__(self, info: zipfile.ZipInfo) -> None:
        self.info, self.name, self.size = info, info.filename, info.file_size

    def isdir(self) -> bool:
        """True for a folder."""
        return self.info.is_dir()

    def isfile(self) -> bool:
        """True for a regular file, which a link is not."""
        mode = self.info.external_attr >> 16 if self.info.create_system == UNIX else 0
        return not self.isdir() and stat.S_IFMT(mode) in (0, stat.S_IFREG)

    def issparse(self) -> bool:
        """False: there are none."""
        return False


class ZipArchive:
    """A ZIP file, like a `tarfile.TarFile`. Raises zipfile.BadZipFile, OSError."""

    def __init__(self, path: Path) -> None:
        self.file = zipfile.ZipFile(path)

    def __enter__(self) -> "ZipArchive":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __iter__(self) -> Iterator[ZipMember]:
        return map(ZipMember, self.file.infolist())

    def extractfile(self, member: ZipMember) -> IO[bytes]:
        """Content of an entry; its checksum is compared at the end."""
        return self.file.open(member.info)
