"""Tests of the command `python -m fcnexp.prepare`."""

import hashlib
import json
import os
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from commands import fcnexp
from fake_data import context_tree, nyud_tree, sbd_tree, voc_tree
from PIL import Image

from fcnexp.data.archives import VOC2010
from fcnexp.data.hha import encode_hha
from fcnexp.data.palette import save_indexed
from fcnexp.system.spawned import ONE_THREAD, _environment, in_processes

QUIET = ["workers=0", "hydra.run.dir=out"]


def prepare(folder: Path, *arguments: str):
    return fcnexp("prepare", *arguments, *QUIET, folder=folder, cache=folder / "cache")


def test_check_counts_images_and_labels(tmp_path):
    voc_tree(tmp_path / "voc", train=("a", "c"))
    done = prepare(tmp_path, "check", "data=voc", "data.root=voc")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out/check.json").read_text())
    train = found["train"]
    assert train["images"] == 2 and train["sizes"] == {"2x3": 2} and found["broken"] == []
    assert train["values"] == {"0": 4, "1": 2, "15": 2, "20": 2, "255": 2}
    assert train["void_share"] == pytest.approx(2 / 12)
    assert train["classes"]["person"] == {"pixels": 2, "share": 0.2, "images": 2}
    assert Image.open(tmp_path / "out/sheet.png").size[0] > 6 and "person" in done.stdout
    absent = train["classes_without_pixels"]
    assert len(absent) == 17 and not {"background", "person"} & set(absent)
    assert "NO PIXEL of bicycle, bird, boat, bottle, bus, car and 11 more classes in" in done.stdout


def test_check_finds_every_broken_file_and_exits_with_1(tmp_path):
    voc_tree(tmp_path / "voc", train=("a", "c", "d", "e"))
    (tmp_path / "voc/JPEGImages/a.jpg").write_bytes(b"cut")
    save_indexed(tmp_path / "voc/SegmentationClass/c.png", np.full((2, 3), 77, np.uint8))
    save_indexed(tmp_path / "voc/SegmentationClass/d.png", np.full((2, 3), 255, np.uint8))
    done = prepare(tmp_path, "check", "data=voc", "data.root=voc")
    assert done.returncode == 1 and "3 broken" in done.stderr and "Traceback" not in done.stderr
    broken = " ".join(json.loads((tmp_path / "out/check.json").read_text())["broken"])
    for message in (
        "a.jpg: damaged",
        "label value 77 in 6 pixels",
        "d: every pixel of its label is void",
    ):
        assert message in broken


def test_check_reports_overlapping_splits(tmp_path):
    voc_tree(tmp_path / "voc", train=("a", "b"), val=("b", "c"))
    done = prepare(tmp_path, "check", "data=voc", "data.root=voc")
    assert done.returncode == 1 and "share 1 images, b first" in done.stderr


def test_check_reads_all_fields_of_nyud(tmp_path):
    root = nyud_tree(tmp_path / "nyud")
    assert prepare(tmp_path, "check", "data=nyud", f"data.root={root}").returncode == 0
    (root / "data/hha/img_5001.png").write_bytes(b"cut")
    done = fcnexp(
        "prepare",
        "check",
        "data=nyud",
        f"data.root={root}",
        "workers=0",
        folder=tmp_path,
        cache=tmp_path,
    )
    assert done.returncode == 1 and "hha/img_5001.png: damaged" in done.stderr


def test_check_reports_a_field_with_a_missing_file(tmp_path):
    root = nyud_tree(tmp_path / "nyud")
    (root / "data/hha/img_5001.png").unlink()
    asked = ["check", "data=nyud", f"data.root={root}"]
    done = prepare(tmp_path, *asked)
    assert done.returncode == 1 and "hha/img_5001.png" in done.stderr
    done = fcnexp("prepare", *asked, "fields=[rgb]", "workers=0", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    done = fcnexp("prepare", *asked, "fields=[infrared]", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and "takes infrared, but the data set provides rgb" in done.stderr


def test_archives_of_voc_and_sbd_are_unpacked_into_readable_sets(tmp_path):
    voc_tree(tmp_path / "made/VOCdevkit/VOC2012")
    sbd_tree(tmp_path / "sbd_made/benchmark_RELEASE/dataset")
    digests = []
    for name, source in (("voc.tar", "made"), ("sbd.tgz", "sbd_made")):
        with tarfile.open(tmp_path / name, "w") as tar:
            for path in sorted((tmp_path / source).rglob("*")):
                tar.add(path, arcname=str(path.relative_to(tmp_path / source)), recursive=False)
        digests.append(hashlib.md5((tmp_path / name).read_bytes()).hexdigest())
    places = ["data=voc_sbd", "data.root=voc", "data.sbd_root=sbd", "data.val_split=val"]
    given = [*places, "archive=voc.tar", "sbd_archive=sbd.tgz", f"digest={digests[0]}"]
    done = prepare(tmp_path, *given)
    assert done.returncode == 1 and f"sbd.tgz: its MD5 is {digests[1]}" in done.stderr
    done = prepare(tmp_path, *given, f"sbd_digest={digests[1]}")
    assert done.returncode == 0, done.stderr
    assert prepare(tmp_path, "check", *places).returncode == 0
    assert json.loads((tmp_path / "out/check.json").read_text())["train"]["images"] == 2


def test_archives_of_pascal_context_are_unpacked_into_a_readable_set(tmp_path):
    context_tree(tmp_path / "made")
    digests = []
    for name, source, base in (("v.tar", "voc", VOC2010.base), ("c.tar", "context", ".")):
        with tarfile.open(tmp_path / name, "w") as tar:
            tar.add(tmp_path / "made" / source, base)
        digests.append(hashlib.md5((tmp_path / name).read_bytes()).hexdigest())
    places = ["data=pascalcontext", "data.root=voc", "data.context_root=context"]
    given = [*places, "archive=v.tar", "context_archive=c.tar", f"digest={digests[0]}"]
    done = prepare(tmp_path, *given)
    assert done.returncode == 1 and f"c.tar: its MD5 is {digests[1]}" in done.stderr
    done = prepare(tmp_path, *given, f"context_digest={digests[1]}")
    assert done.returncode == 0, done.stderr
    assert prepare(tmp_path, "check", *places).returncode == 0
    found = json.loads((tmp_path / "out/check.json").read_text())["train"]
    assert found["images"] == 2 and found["values"] == {"0": 6, "1": 2, "11": 2, "59": 2}
    assert found["classes"]["diningtable"]["pixels"] == 2


def test_hha_of_a_folder_is_written_once(tmp_path):
    (tmp_path / "depth").mkdir()
    ramp = np.tile(np.linspace(900, 3000, 48).astype(np.uint16)[:, None], (1, 64))
    for name in ("a", "b"):
        Image.fromarray(ramp).save(tmp_path / "depth" / f"{name}.png")
    asked = ["hha", "depth=depth", "intrinsics=[60,60,32,24]"]
    done = prepare(tmp_path, *asked)
    assert done.returncode == 0 and "2 written, 0 existed" in done.stdout, done.stderr
    camera = np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]])
    written = np.array(Image.open(tmp_path / "hha/a.png"))
    np.testing.assert_array_equal(written, encode_hha(ramp / 1000, ramp == 0, camera))
    assert "0 written, 2 existed" in prepare(tmp_path, *asked).stdout


def test_hha_excludes_pixels_without_raw_depth(tmp_path):
    depth = np.tile(np.linspace(900, 3000, 48).astype(np.uint16)[:, None], (1, 64))
    raw = np.where(np.arange(64) < 20, 0, depth).astype(np.uint16)
    for folder, pixels in (("depth", depth), ("raw", raw)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "a.png")
    asked = ["hha", "depth=depth", "raw_depth=raw", "output=made", "intrinsics=[60,60,32,24]"]
    done = prepare(tmp_path, *asked)
    assert done.returncode == 0, done.stderr
    camera = np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]])
    written = np.array(Image.open(tmp_path / "made/a.png"))
    np.testing.assert_array_equal(written, encode_hha(depth / 1000, raw == 0, camera))
    assert (written != encode_hha(depth / 1000, depth == 0, camera)).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data=nyud", "data.root=x"], "mat: required for data=nyud, but not given; add mat=FILE"),
        (["data=nyud", "data.root=x", "mat=none.mat"], "mat=none.mat: no such file"),
        (["hha", "intrinsics=[1,2,3,4]"], "depth: required for hha"),
        (["hha", "depth=x"], "intrinsics: required for hha"),
        (["hha", "depth=x", "intrinsics=[1,2]"], "four numbers, [fx,fy,cx,cy]"),
        (["hha", "depth=x", "intrinsics=[1,2,3,4]"], "depth=x: contains no PNG files"),
        (["data=voc", "data.root=x", "archive=none.tar"], "archive=none.tar: cannot be read"),
        (["task=fly"], "task=fly: choose one of get, check, bands, hha"),
        (["workers=-1"], "workers=-1: must be 0 or more"),
    ],
)
def test_mistake_prints_one_line(tmp_path, arguments, message):
    done = fcnexp("prepare", *arguments, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr


def write_threads(folder: Path, number: int) -> None:
    """Write the thread settings of this process; number 3 fails."""
    if number == 3:
        raise ValueError("3 fails")
    found = {name: os.environ.get(name) for name in ONE_THREAD} | {"pid": os.getpid()}
    (folder / f"{number}.json").write_text(json.dumps(found))


@pytest.mark.parametrize("count", [3, 4])  # the fourth fails
def test_processes_have_one_thread_each_and_the_parent_is_unchanged(tmp_path, monkeypatch, count):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = os.environ.copy()
    steps = in_processes(partial(write_threads, tmp_path), list(range(count)), workers=2)
    if count == 4:
        with pytest.raises(ValueError, match="3 fails"):
            list(steps)
    else:
        for _ in steps:
            assert os.environ.copy() == before  # also while they work
    assert os.environ.copy() == before
    for number in range(3):
        found = json.loads((tmp_path / f"{number}.json").read_text())
        assert found.pop("pid") != os.getpid() and set(found.values()) == {"1"}


def test_workers_0_leaves_this_process_unchanged(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert len(list(in_processes(partial(write_threads, tmp_path), [0, 1], workers=0))) == 2
    found = json.loads((tmp_path / "0.json").read_text())
    assert found["pid"] == os.getpid() and found["OMP_NUM_THREADS"] == "5"


def test_environment_is_restored_after_an_error(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    before = os.environ.copy()
    with pytest.raises(OSError, match="no processes"), _environment(ONE_THREAD | {"NEW": "1"}):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["NEW"] == "1"
        raise OSError("no processes")
    assert os.environ.copy() == before
