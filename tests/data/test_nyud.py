from pathlib import Path

import numpy as np
import pytest
import torch
from fake_data import COLUMNS, ROWS, nyud_tree, save_nyud_label
from PIL import Image
from scipy.sparse import csc_matrix

from fcnexp import VOID
from fcnexp.data.nyud import CLASS_NAMES, nyud_segmentation
from fcnexp.data.splits import Nyud
from fcnexp.errors import DataError

ALL = ("rgb", "depth", "hha")


def test_there_are_40_classes_from_wall_to_otherprop():
    assert len(set(CLASS_NAMES)) == len(CLASS_NAMES) == 40
    assert CLASS_NAMES[0] == "wall" and CLASS_NAMES[39] == "otherprop"
    assert CLASS_NAMES[9:13] == ("bookshelf", "picture", "counter", "blinds")
    assert CLASS_NAMES[23] == "refridgerator" and CLASS_NAMES[27] == "shower curtain"
    initials = "".join(name[0] for name in CLASS_NAMES)  # of the published list, typed by hand
    assert initials == "wfcbcstdwbpcbdscdpmfccbrtptsbwpntslbbooo"


@pytest.mark.real_data
def test_classes_are_in_the_official_order(shared_data):
    official = (shared_data / "nyud_meta/classes40.txt").read_text().split("\n")
    assert [line for line in official if line] == list(CLASS_NAMES)


def test_fields_are_read_as_stored(tmp_path):
    sample = nyud_segmentation(nyud_tree(tmp_path), "test", ALL)[1]
    rgb, depth, hha = (sample.fields[name] for name in ALL)
    assert sample.name == "5002" and rgb.dtype == hha.dtype == torch.uint8
    assert rgb[:, 2, 5].tolist() == [2, 5, 0]
    assert hha[:, 2, 5].tolist() == [5, 2, 9]  # disparity, height, angle: no swap
    assert depth.dtype == torch.int32 and depth.shape == (1, 20, 24)
    np.testing.assert_array_equal(depth[0].numpy(), 1000 * ROWS + COLUMNS)


def test_depth_beyond_15_bits_and_missing_depth_are_kept(tmp_path):
    root = nyud_tree(tmp_path)
    depth = np.full((20, 24), 65535, np.uint16)
    depth[0] = 0
    Image.fromarray(depth).save(root / "data/depth/img_5001.png")
    read = nyud_segmentation(root, "test", ("depth",))[0].fields["depth"]
    assert read.unique().tolist() == [0, 65535]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_stored_0_is_void_and_1_to_40_are_the_classes(tmp_path, dtype):
    root = nyud_tree(tmp_path)
    save_nyud_label(root, "5001", ((ROWS + COLUMNS) % 41).astype(dtype))
    label = nyud_segmentation(root, "test", ("rgb",))[0].label
    assert label.dtype == torch.uint8
    assert label[0, 0] == VOID == label[19, 22]
    assert label[0, 1] == 0 and label[19, 21] == 39


@pytest.mark.parametrize("fields", [("hha",), ("rgb", "depth")])
def test_only_the_files_of_requested_fields_are_needed(tmp_path, fields):
    root = nyud_tree(tmp_path)
    folders = {"rgb": "images", "depth": "depth", "hha": "hha"}
    for name in set(folders) - set(fields):
        for path in (root / "data" / folders[name]).iterdir():
            path.unlink()
        (root / "data" / folders[name]).rmdir()
    assert tuple(nyud_segmentation(root, "test", fields)[0].fields) == fields


def save_grey(path: Path, dtype: type, size: tuple[int, int] = (20, 24)) -> None:
    Image.fromarray(np.zeros(size, dtype)).save(path)


def other_label(stored: np.ndarray):
    return lambda root: save_nyud_label(root, "5001", stored)


BROKEN = {
    "label 41": (
        other_label(np.where(ROWS == 3, 41, 1)),
        r"img_5001\.mat: label value 41 in 24 pixels; allowed are 1 to 40 .* and 0 for void",
    ),
    "label 256, 0 in 8 bits": (other_label(np.full((20, 24), 256)), "label value 256 in 480"),
    "label of other size": (
        other_label(np.ones((24, 20))),
        r"segmentation.img_5001\.mat: is 20x24, but .*images.img_5001\.png is 24x20",
    ),
    "label of many axes": (other_label(np.ones((20, 24, 2))), r"img_5001\.mat: .*\(20, 24, 2\)"),
    "struct label": (
        other_label({"a": 1}),
        r"img_5001\.mat: segmentation is ndarray of .*a.*, not",
    ),
    "cell label": (other_label(np.array([[1, "wall"]], object)), r"mat: segmentation is .* object"),
    "sparse label": (other_label(csc_matrix(np.ones((20, 24)))), r"mat: segmentation is csc_"),
    "text label": (
        lambda r: (r / "segmentation/img_5001.mat").write_text("wall"),
        r"img_5001\.mat: not an NYUD label, cannot read segmentation",
    ),
    "depth of other size": (
        lambda r: save_grey(r / "data/depth/img_5001.png", np.uint16, (20, 23)),
        r"depth.img_5001\.png: is 23x20, but .*images.img_5001\.png is 24x20",
    ),
    "8-bit depth": (
        lambda r: save_grey(r / "data/depth/img_5001.png", np.uint8),
        r"depth.img_5001\.png: depth image of mode L; save depth as a 16-bit",
    ),
    "grey hha": (
        lambda r: save_grey(r / "data/hha/img_5001.png", np.uint8),
        r"hha.img_5001\.png: HHA image of mode L; save HHA as an RGB PNG",
    ),
    "cut hha": (
        lambda r: (r / "data/hha/img_5001.png").write_bytes(b"\x89PNG"),
        r"hha.img_5001\.png: damaged or not an image",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_file_is_named(tmp_path, case):
    damage, message = BROKEN[case]
    root = nyud_tree(tmp_path)
    damage(root)
    with pytest.raises(DataError, match=message):
        nyud_segmentation(root, "test", ALL)[0]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("data/images/img_5002.png", "image"),
        ("data/depth/img_5002.png", "depth image"),
        ("data/hha/img_5002.png", "hha image"),
        ("segmentation/img_5002.mat", "label"),
    ],
)
def test_listed_id_without_file_is_found_at_the_start(tmp_path, path, what):
    root = nyud_tree(tmp_path)
    (root / path).unlink()
    with pytest.raises(DataError, match=rf"{path}: no such {what} \(1 of 2 listed ids have none"):
        nyud_segmentation(root, "test", ALL)


def test_missing_folder_and_list_are_named(tmp_path):
    root = nyud_tree(tmp_path)
    with pytest.raises(DataError, match=r"tset: no such list .* .it has test, train, trainval"):
        nyud_segmentation(root, "tset", ("rgb",))
    (root / "data/hha").rename(root / "data/HHA")
    with pytest.raises(DataError, match=r"data\.root=.*: contains no data/hha; set it to"):
        nyud_segmentation(root, "test", ("rgb", "hha"))


def test_trainval_without_list_is_train_then_val(tmp_path):
    root = nyud_tree(tmp_path, train=("5009", "5004"), test=("5001",))
    (root / "trainval.txt").unlink()
    (root / "val.txt").write_text("5001\n")
    assert nyud_segmentation(root, "trainval", ("rgb",)).ids == ["5009", "5004", "5001"]
    (root / "val.txt").write_text("5004\n")
    with pytest.raises(DataError, match=r"val\.txt: 5004 is in train\.txt too"):
        nyud_segmentation(root, "trainval", ("rgb",))


def test_splits_are_the_named_lists_and_share_no_image(tmp_path):
    root = str(nyud_tree(tmp_path))
    data = Nyud(root, "trainval", "test")
    assert data.train(("depth",)).ids == ["5003"] and data.val(("hha",)).ids == ["5001", "5002"]
    assert tuple(data.val(("hha",))[0].fields) == ("hha",)
    with pytest.raises(DataError, match=r"test and test share 2 images, 5001 first"):
        Nyud(root, "test", "test").train(("rgb",))


def test_overlap_is_accepted_only_if_its_size_is_given(tmp_path):
    root = str(nyud_tree(tmp_path, train=("5003", "5001")))
    with pytest.raises(DataError, match=r"share 1 images, 5001 first; .*data\.shared=1"):
        Nyud(root, "trainval", "test").train(ALL)
    assert Nyud(root, "trainval", "test", shared=1).train(ALL).ids == ["5003", "5001"]


def test_colour_may_be_jpeg_where_there_is_no_png(tmp_path):
    root = nyud_tree(tmp_path)
    for path in (root / "data/images").glob("*.png"):
        Image.new("RGB", (24, 20), (200, 0, 0)).save(path.with_suffix(".jpg"))
        path.unlink()
    sample = nyud_segmentation(root, "train", ("rgb", "depth"))[0]
    assert sample.fields["rgb"][0].min() > 190 and sample.fields["depth"].max() > 0
