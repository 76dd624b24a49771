"""A server that lies, and what a download leaves behind."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from bad_commands import PICTURE, tar

from fcnexp.data.archives import VOC2012, prepare_archive
from fcnexp.errors import DataError

SILENT = lambda _: None  # noqa: E731


class Liar(BaseHTTPRequestHandler):
    """Answers each request as the next of these functions says: status, headers, body."""

    def __init__(self, answers: list, ranges: list, *connection) -> None:
        self.answers, self.ranges = answers, ranges
        super().__init__(*connection)

    def do_GET(self) -> None:
        begin = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        self.ranges.append(begin)
        status, headers, body = self.answers.pop(0)(begin)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *parts) -> None:
        pass


@contextmanager
def served(answers: list) -> Iterator[tuple[str, list]]:
    """Address of a server with these answers, and the first bytes that were asked for."""
    ranges: list[int] = []
    with HTTPServer(("127.0.0.1", 0), partial(Liar, answers, ranges)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/a.tar", ranges
        server.shutdown()


@pytest.fixture
def content(tmp_path) -> bytes:
    return tar(tmp_path / "good.tar", [PICTURE]).read_bytes()


def right(content: bytes):
    return lambda begin: (
        206 if begin else 200,
        {"Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"} if begin else {},
        content[begin:],
    )


def get(url: str, root: Path, content: bytes) -> int:
    digest = hashlib.md5(content).hexdigest()
    return prepare_archive(VOC2012._replace(url=url, md5=digest), root, None, None, SILENT)


LIES = {  # what is answered first, the part that is there, and what is asked for in the second try
    "other bytes": (lambda c: lambda _: (200, {}, b"x" * len(c)), 0, 0),
    "an error page": (lambda c: lambda _: (200, {}, b"<html>sorry</html>"), 0, 0),
    "nothing": (lambda c: lambda _: (200, {}, b""), 0, 0),
    "bytes too many": (lambda c: lambda _: (200, {}, c + b"more"), 0, 0),
    "too short by its own word": (lambda c: lambda _: (200, {"Content-Length": "9"}, c), 0, 0),
    "another range": (
        lambda c: lambda begin: (206, {"Content-Range": f"bytes 0-{len(c)}/{len(c)}"}, c),
        700,
        0,
    ),
    "the rest of another file": (
        lambda c: lambda begin: (206, {"Content-Range": f"bytes {begin}-"}, b"y" * 99),
        700,
        0,
    ),
    "less than announced": (
        lambda c: lambda _: (200, {"Content-Length": str(len(c))}, c[:800]),
        0,
        800,
    ),
    "complete, of a damaged part": (lambda c: lambda _: (416, {}, b""), 700, 0),
}


@pytest.mark.parametrize("lie", LIES)
def test_the_next_try_is_right_whatever_the_server_sent(lie, content, tmp_path):
    first, have, again = LIES[lie]
    root = tmp_path / "root"
    root.mkdir()
    part = root / f"{VOC2012.file}.part"
    if have:
        part.write_bytes(b"z" * have)
    with served([first(content), right(content)]) as (url, ranges):
        with pytest.raises(DataError, match="run the same command again"):
            get(url, root, content)
        assert not (root / VOC2012.file).exists() and not (root / PICTURE[0]).exists()
        assert get(url, root, content) == 1
    assert ranges == [have, again]
    assert (root / VOC2012.file).read_bytes() == content and not part.exists()
    assert (root / PICTURE[0]).read_bytes() == PICTURE[2]


def test_a_part_that_is_a_link_is_not_followed(content, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "mine").write_bytes(content[:500])
    (root / f"{VOC2012.file}.part").symlink_to(tmp_path / "mine")
    with served([right(content)]) as (url, ranges):
        assert get(url, root, content) == 1
    assert ranges == [0] and (tmp_path / "mine").read_bytes() == content[:500]


def test_number_of_lies(tell):
    tell(f"downloads: {len(LIES) + 1} lies of servers and links, the next try is right after each")
