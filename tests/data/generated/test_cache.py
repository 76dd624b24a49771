import json
import os
from pathlib import Path

import pytest

from fcnexp.data.generated.cache import written_once
from fcnexp.errors import DataError

MADE_FROM = {"seed": 1}


def write(folder, made_from):
    folder.mkdir()
    (folder / "image").write_text(str(made_from["seed"]))


def test_folder_is_written_once_with_its_marker_last(tmp_path, monkeypatch):
    root, marked, renamed = tmp_path / "made", [], []
    rename = Path.rename

    def renaming(path, target):
        renamed.append((path / "kind.json").is_file())
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", renaming)

    def watched(folder, made_from):
        write(folder, made_from)
        marked.append((folder / "kind.json").exists() or root.exists())

    for _ in range(2):
        assert written_once(root, MADE_FROM, "kind", watched) == root
    assert renamed == [True]  # never exists without its marker
    assert marked == [False] and json.loads((root / "kind.json").read_text()) == MADE_FROM
    assert list(tmp_path.iterdir()) == [root]


def test_faster_process_wins(tmp_path):
    root = tmp_path / "made"

    def overtaken(folder, made_from):
        write(folder, made_from)
        written_once(root, made_from, "kind", write)  # by the other process, in the meantime
        os.utime(root / "kind.json", ns=(1, 1))

    assert written_once(root, MADE_FROM, "kind", overtaken) == root
    assert (root / "kind.json").stat().st_mtime_ns == 1
    assert list(tmp_path.iterdir()) == [root]


def test_faster_process_with_other_parameters_is_refused(tmp_path):
    root = tmp_path / "made"

    def overtaken(folder, made_from):
        write(folder, made_from)
        written_once(root, {"seed": 2}, "kind", write)

    with pytest.raises(DataError, match=r"made from {'seed': 2}, but {'seed': 1} is requested"):
        written_once(root, MADE_FROM, "kind", overtaken)


def test_failed_write_leaves_nothing(tmp_path):
    def failing(folder, made_from):
        write(folder, made_from)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        written_once(tmp_path / "made", MADE_FROM, "kind", failing)
    assert not list(tmp_path.iterdir())


def test_other_and_incomplete_folders_are_refused(tmp_path):
    root = written_once(tmp_path / "made", MADE_FROM, "kind", write)
    with pytest.raises(DataError, match=r"holds `kind` made from {'seed': 1}, but {'seed': 2}"):
        written_once(root, {"seed": 2}, "kind", write)
    (root / "kind.json").unlink()
    with pytest.raises(DataError, match="is incomplete, no kind.json, .* delete the folder"):
        written_once(root, MADE_FROM, "kind", write)
