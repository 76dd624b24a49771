"""Archives are verified, unpacked safely, and resumed after an interruption."""

import hashlib
import io
import stat
import tarfile
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from fcnexp.data.archives import SIFTFLOW, Archive, fetch, prepare_archive, unpack, verify
from fcnexp.errors import DataError

MADE = Archive("made.tar", "http://nowhere.invalid/made.tar", "", "base/set", ("img", "train.txt"))
FILES = {
    **{"base/set/img/a.jpg": b"picture a", "base/set/img/b.jpg": b"picture b"},
    **{"base/set/train.txt": b"a\nb\n", "base/set/inst/a.mat": b"not wanted"},
    **{"base/set/img2/c.jpg": b"nor this", "base/set/train.txt.old": b"nor this"},
}
WANTED = ("base/set/img/a.jpg", "base/set/img/b.jpg", "base/set/train.txt")


def tar(path: Path, files: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.type = (len(content) if kind == tarfile.REGTYPE else 0), kind
            member.linkname = "/etc/passwd"
            archive.addfile(member, io.BytesIO(content))
    return path


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_wanted_files_are_unpacked_and_no_others(tmp_path):
    path = tar(tmp_path / "made.tar", FILES)
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    assert prepare_archive(MADE, tmp_path / "root", path, digest, lambda _: None) == 3
    assert files_below(tmp_path / "root") == {n: FILES[n] for n in WANTED}


def test_unpacking_resumes_where_it_stopped(tmp_path):
    path = tar(tmp_path / "made.tar", FILES)
    root = tmp_path / "root"
    assert unpack(path, root, MADE, print) == 3
    (root / "base/set/img/a.jpg").unlink()
    (root / "base/set/img/b.jpg").write_bytes(b"half")
    assert unpack(path, root, MADE, print) == 2
    assert (root / "base/set/img/b.jpg").read_bytes() == b"picture b"


@pytest.mark.parametrize("name", ["base/set/img/../../../../evil", "/base/set/img/evil", "../evil"])
def test_member_that_leaves_its_folder_stops_everything(tmp_path, name):
    path = tar(tmp_path / "made.tar", FILES | {name: b"evil"})
    with pytest.raises(DataError, match="leaves its folder; do not trust it"):
        unpack(path, tmp_path / "root", MADE, print)
    assert not (tmp_path / "root").exists() and not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    path = tar(tmp_path / "made.tar", {"base/set/img/a.jpg": b""}, kind)
    with pytest.raises(DataError, match="img/a.jpg is a link, device or sparse file"):
        unpack(path, tmp_path / "root", MADE, print)
    assert not (tmp_path / "root").exists()


def test_other_digest_is_refused_with_both_digests(tmp_path):
    path = tar(tmp_path / "made.tar", FILES)
    with pytest.raises(DataError, match=r"made\.tar: its MD5 is [0-9a-f]{32}, not 00.*download it"):
        verify(path, "00" * 16)


def test_truncated_and_foreign_archives_are_named(tmp_path):
    whole = tar(tmp_path / "made.tar", FILES).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:515])
    with pytest.raises(DataError, match=r"cut\.tar: cannot be unpacked"):
        unpack(tmp_path / "cut.tar", tmp_path / "root", MADE, print)
    (tmp_path / "text.tar").write_text("hello")
    with pytest.raises(DataError, match=r"text\.tar: cannot be unpacked"):
        unpack(tmp_path / "text.tar", tmp_path / "root", MADE, print)
    other = tar(tmp_path / "other.tar", {"elsewhere/a.jpg": b""})
    with pytest.raises(DataError, match=r"contains no base/set; use made\.tar"):
        unpack(other, tmp_path / "root", MADE, print)


def test_download_error_suggests_a_local_file(tmp_path):
    with pytest.raises(DataError, match=r"made\.tar: could not be downloaded .* set archive=FILE"):
        prepare_archive(MADE, tmp_path / "root", None, None, lambda _: None)


class Server(BaseHTTPRequestHandler):
    """Serves content from the requested byte on, or all without `ranges`; records requests."""

    def __init__(self, content: bytes, ranges: bool, requested: list[str], *connection) -> None:
        self.content, self.ranges, self.requested = content, ranges, requested
        super().__init__(*connection)

    def do_GET(self) -> None:
        self.requested.append(self.headers["Range"])
        begin = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if self.ranges and begin >= len(self.content):
            self.send_error(416)
            return
        self.send_response(206 if self.ranges else 200)
        self.end_headers()
        self.wfile.write(self.content[begin:] if self.ranges else self.content)

    def log_message(self, *parts) -> None:
        pass


@pytest.mark.parametrize(("ranges", "have"), [(True, 1000), (False, 1000), (True, 2304)])
def test_download_resumes_where_it_stopped(tmp_path, ranges, have):
    """Also if only the rename is missing: the file has 2304 bytes."""
    content, requested = bytes(range(256)) * 9, []
    (tmp_path / "made.tar.part").write_bytes(content[:have])
    with HTTPServer(("127.0.0.1", 0), partial(Server, content, ranges, requested)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        there = MADE._replace(url=f"http://127.0.0.1:{server.server_port}/made.tar")
        found = [fetch(there, tmp_path, lambda _: None) for _ in range(2)]
        server.shutdown()
    assert found == [tmp_path / "made.tar"] * 2 and requested == [
        f"bytes={have}-"
    ]  # the second call finds the file
    assert files_below(tmp_path) == {"made.tar": content}


def test_published_digest_is_the_default(tmp_path):
    path = tar(tmp_path / "made.tar", FILES)
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=f"its MD5 is {digest}, not {'0' * 32}"):
        prepare_archive(MADE._replace(md5="0" * 32), tmp_path, path, None, lambda _: None)
    assert prepare_archive(MADE._replace(md5=digest), tmp_path, path, None, lambda _: None) == 3


def zipped(path: Path, files: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


@pytest.mark.parametrize("base", ["", "SiftFlowDataset/"])
def test_a_zip_file_is_unpacked_and_resumed_as_a_tar_file(tmp_path, base):
    files = {f"{base}Images/": b"", f"{base}Images/a/b.jpg": b"picture", f"{base}GeoLabels/c": b"c"}
    path = zipped(tmp_path / "made", files | {f"{base}Code/d.m": b"not wanted"})
    assert unpack(path, tmp_path / "root", SIFTFLOW, print) == 2
    (tmp_path / "root" / base / "Images/a/b.jpg").write_bytes(b"half")
    assert unpack(path, tmp_path / "root", SIFTFLOW, print) == 1
    found = files_below(tmp_path / "root")
    assert found == {name: content for name, content in files.items() if content}


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [
        ("Images/../../evil", 0, "leaves its folder; do not trust it"),
        ("/Images/evil", 0, "leaves its folder; do not trust it"),
        ("Images/link", stat.S_IFLNK | 0o777, "is a link, device or sparse file"),
    ],
)
def test_a_zip_file_that_writes_elsewhere_is_refused(tmp_path, name, mode, message):
    path = zipped(tmp_path / "made.zip", {"Code/a": b"a", name: b"/etc/passwd"}, mode)
    with pytest.raises(DataError, match=message):
        unpack(path, tmp_path / "root", SIFTFLOW, print)
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-30], lambda b: b[:40] + b"?" + b[41:], lambda b: b""]
)
def test_a_damaged_zip_file_is_named(tmp_path, damage):
    path = zipped(tmp_path / "made.zip", {"Images/a": bytes(range(256)) * 9})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"made\.zip: cannot be unpacked"):
        unpack(path, tmp_path / "root", SIFTFLOW, print)
