"""Atomic writes leave a complete file or none."""

import errno
import os

import pytest

from fcnexp.system.atomic import atomic_file, write_atomically


def test_failed_write_leaves_only_the_old_file(tmp_path):
    file = tmp_path / "a.png"
    file.write_text("before")
    with pytest.raises(OSError, match="No space"), atomic_file(file) as part:
        part.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert file.read_text() == "before"


def test_file_is_synced_before_it_replaces_the_old_one(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("sync"), sync(file)))
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("replace"), replace(*paths)))
    write_atomically(tmp_path / "a.csv", "1,2\r\n")
    assert done == ["sync", "replace"]
    assert (tmp_path / "a.csv").read_bytes() == b"1,2\r\n"
