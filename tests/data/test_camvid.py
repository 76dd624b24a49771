"""CamVid's layout, and masks whose values are not the class indices."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from fake_data import own_tree
from PIL import Image
from places import SHARED

from fcnexp import VOID
from fcnexp.data.archives import CAMVID, unpack
from fcnexp.data.camvid import CLASS_NAMES, CamVid, camvid_segmentation
from fcnexp.data.masks import read_mask
from fcnexp.data.own import Folder
from fcnexp.data.palette import read_classes
from fcnexp.errors import DataError

STORED = np.array([[0, 2, 11], [10, 11, 5]], np.uint8)
LABEL = np.where(STORED == 11, VOID, STORED)


def camvid_tree(root: Path, suffix: str = ".png", **halves: list[str]) -> Path:
    """Write images NAME and masks STORED; the lists are left out."""
    for half, names in (halves or {"train": ["a", "b"], "val": ["c"], "test": ["d"]}).items():
        for folder in (half, f"{half}annot"):
            (root / folder).mkdir(parents=True)
        for name in names:
            Image.new("RGB", (3, 2), (200, 0, 0)).save(root / half / (name + suffix))
            Image.fromarray(STORED).save(root / f"{half}annot" / f"{name}.png")
    return root


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_eleven_is_void_and_folders_are_splits(tmp_path, suffix):
    data = CamVid(str(camvid_tree(tmp_path, suffix)), "train", "val")
    sample = data.train(("rgb",))[0]
    assert sample.name == "a" and sample.label.tolist() == LABEL.tolist()
    assert sample.fields["rgb"].shape == (3, 2, 3) and sample.fields["rgb"][0].min() > 190
    assert data.val(()).ids == ["c"] and data.class_names[2] == "pole"
    for split, ids in {"test": ["d"], "trainval": ["a", "b", "c"]}.items():
        assert camvid_segmentation(tmp_path, split).ids == ids


@pytest.mark.parametrize(
    "line", ["b", "b.png", "/SegNet/CamVid/train/b.png /SegNet/CamVid/trainannot/b.png"]
)
def test_lists_may_hold_names_or_the_two_paths_of_upstream(tmp_path, line):
    camvid_tree(tmp_path / "CamVid")
    (tmp_path / "CamVid/train.txt").write_text(f"{line}\n")
    assert camvid_segmentation(tmp_path, "train").ids == ["b"]
    assert camvid_segmentation(tmp_path, "trainval").ids == ["b", "c"]
    (tmp_path / "mine.txt").write_text(f"d\n{line}\n")
    assert camvid_segmentation(tmp_path, str(tmp_path / "mine.txt")).ids == ["d", "b"]


def test_shared_images_and_missing_files_are_refused(tmp_path):
    root = camvid_tree(tmp_path)
    with pytest.raises(DataError, match="trainval and val share 1 images, c first"):
        CamVid(str(root), "trainval", "val").train(("rgb",))
    (root / "trainannot/b.png").unlink()
    with pytest.raises(DataError, match=r"train/b\.png: no mask b\.png \(1 of 2 images"):
        camvid_segmentation(root, "train")
    (root / "train.txt").write_text("a\nx\n")
    with pytest.raises(DataError, match=r"train\.txt: x: no such image \(1 of 2 lines"):
        camvid_segmentation(root, "train")
    Image.new("RGB", (3, 2)).save(root / "val/a.png")
    with pytest.raises(DataError, match=r"val/a\.png: .*train/a\.png has the same name"):
        camvid_segmentation(root, "test")


def test_value_beyond_void_is_refused(tmp_path):
    root = camvid_tree(tmp_path)
    Image.fromarray(STORED + np.uint8(1)).save(root / "trainannot/a.png")
    with pytest.raises(DataError, match=r"a\.png: value 12 in 2 pixels is neither a class nor"):
        camvid_segmentation(root, "train")[0]


def test_archive_is_read_where_it_was_unpacked(tmp_path):
    camvid_tree(tmp_path / "made" / CAMVID.base)
    (tmp_path / "made" / CAMVID.base / "train.txt").write_text("a\n")
    with tarfile.open(tmp_path / CAMVID.file, "w:gz") as tar:
        tar.add(tmp_path / "made" / CAMVID.base, CAMVID.base)
    assert unpack(tmp_path / CAMVID.file, tmp_path / "root", CAMVID, print) == 9
    assert camvid_segmentation(tmp_path / "root", "trainval").ids == ["a", "c"]


@pytest.mark.real_data
def test_the_whole_benchmark_has_the_published_counts():
    root = SHARED / "data/camvid"
    if not root.is_dir():
        pytest.skip("needs ../shared/data/camvid")
    parts = {split: camvid_segmentation(root, split) for split in ("train", "val", "test")}
    assert [len(part) for part in parts.values()] == [367, 101, 233]
    counts = np.zeros(256, np.int64)
    for i in range(233):
        counts += np.bincount(parts["test"].read_label(i).flatten(), minlength=256)
    assert counts[[*range(11), VOID]].sum() == 233 * 360 * 480 and counts[:11].min() > 0
    assert CLASS_NAMES[int(counts[:11].argmin())] == "bicyclist"


def masks(root: Path, stored: np.ndarray, lines: str) -> Folder:
    own_tree(root)
    (root / "classes.yaml").write_text(lines)
    for name in ("a", "b"):
        Image.fromarray(stored).save(root / "masks" / f"{name}.png")
    return Folder(str(root), None, None, 0.5)


@pytest.mark.parametrize(
    ("lines", "stored", "label"),
    [
        ("classes: [bg, lesion]\nvalues: {bg: 0, lesion: 255}", [0, 255, 255], [0, 1, 1]),
        ("classes: [bg, lesion]\nvalues: [0, 255]\nvoid: 128", [0, 128, 255], [0, 255, 1]),
        ("classes: [x, y]\nvalues: [1, 2]\nvoid: 0", [0, 1, 2], [255, 0, 1]),
        ("classes: [x, y]\nvoid: [2, 9]", [0, 1, 9], [0, 1, 255]),
        ("classes: [x, y]\nvalues: [7, 8]", [8, 7, 255], [1, 0, 255]),
    ],
)
def test_classes_yaml_may_give_the_masks_values(tmp_path, lines, stored, label):
    stored = np.tile(np.array(stored, np.uint8), (2, 1))
    read = masks(tmp_path, stored, lines).train(("rgb",))[0].label
    assert read.tolist() == [label, label]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("values: {x: 0}", r"values do not match classes \(y\); give the masks' value of each"),
        ("values: [0, 1, 2]", r"values do not match classes \(x, y\)"),
        ("values: [3, 3]", "value 3 is given to x and y; give each class its own"),
        ("values: [0, 65536]", "value of y is 65536; give a whole number from 0 to 65535"),
        ("values: [0, true]", "value of y is True; give a whole number"),
        ("void: 1", "void is 1, the value of a class too; change one of them"),
        ("void: none", "void is 'none'; give a whole number"),
    ],
)
def test_values_that_do_not_fit_are_refused(tmp_path, lines, message):
    (tmp_path / "classes.yaml").write_text(f"classes: [x, y]\n{lines}\n")
    with pytest.raises(DataError, match=message):
        read_classes(tmp_path / "classes.yaml")


def test_without_void_255_is_refused(tmp_path):
    (tmp_path / "classes.yaml").write_text("classes: [x, y]\nvoid: null\n")
    Image.fromarray(np.array([[0, 1, 255]], np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(DataError, match="value 255 in 1 pixels is neither a class nor void"):
        read_mask(tmp_path / "m.png", read_classes(tmp_path / "classes.yaml"))
