from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from fake_data import LABEL, sbd_tree, voc_tree
from PIL import Image

from fcnexp import VOID
from fcnexp.data.files import read_label_png, read_rgb
from fcnexp.data.lists import read_ids
from fcnexp.data.palette import save_indexed, voc_palette
from fcnexp.data.splits import Voc, VocSbd
from fcnexp.data.voc import CLASS_NAMES, sbd_segmentation, voc_segmentation
from fcnexp.errors import DataError


def test_palette_is_vocs():
    palette = voc_palette()
    assert palette[1].tolist() == [128, 0, 0] and palette[15].tolist() == [192, 128, 128]
    assert palette[20].tolist() == [0, 64, 128] and palette[VOID].tolist() == [224, 224, 192]


def test_reads_image_and_indices(tmp_path):
    sample = voc_segmentation(voc_tree(tmp_path), "train", 21)[0]
    assert sample.name == "a" and torch.equal(sample.label, torch.from_numpy(LABEL))
    rgb = sample.fields["rgb"]
    assert rgb.shape == (3, 2, 3) and rgb.dtype == torch.uint8
    assert rgb[0].min() > 190 and rgb[1:].max() < 10


def test_finds_the_devkit_folder(tmp_path):
    voc_tree(tmp_path / "VOCdevkit" / "VOC2012")
    assert voc_segmentation(tmp_path, "val", 21).ids == ["b"]


def test_custom_list_by_path(tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("b\na\n")
    assert voc_segmentation(voc_tree(tmp_path / "voc"), str(mine), 21).ids == ["b", "a"]


def test_reads_sbd_mat(tmp_path):
    sample = sbd_segmentation(sbd_tree(tmp_path), "train", 21)[1]
    assert sample.name == "d"
    assert torch.equal(sample.label, torch.from_numpy(np.minimum(LABEL, 20)))


def test_voc_and_sbd_together(tmp_path):
    data = VocSbd(
        str(voc_tree(tmp_path / "voc")), "train", "val", str(sbd_tree(tmp_path / "sbd")), "train"
    )
    train = data.train(("rgb",))
    assert [train[i].name for i in range(len(train))] == ["a", "c", "d"] == train.ids
    assert data.val(("rgb",)).ids == ["b"]


def test_overlap_of_training_and_validation_is_refused(tmp_path):
    voc = voc_tree(tmp_path / "voc", val=("b", "c"))
    sbd = sbd_tree(tmp_path / "sbd")
    with pytest.raises(DataError, match=r"share 1 images, c first.*must not be scored"):
        VocSbd(str(voc), None, "val", str(sbd), "train").train(("rgb",))
    with pytest.raises(DataError, match=r"train and train share"):
        Voc(str(voc), "train", "train").train(("rgb",))


def break_image(root: Path) -> None:
    path = root / "JPEGImages/a.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def label_of(values: np.ndarray):
    return lambda root: save_indexed(root / "SegmentationClass/a.png", values)


BROKEN = {
    "truncated jpeg": (break_image, r"a\.jpg: damaged or not an image"),
    "empty jpeg": (lambda r: (r / "JPEGImages/a.jpg").write_bytes(b""), r"a\.jpg: damaged"),
    "label 77": (
        label_of(np.full((2, 3), 77, np.uint8)),
        r"a\.png: label value 77 in 6 pixels; allowed are 0 to 20 \(21 classes\) and 255",
    ),
    "label of other size": (
        label_of(np.zeros((3, 3), np.uint8)),
        r"a\.png: is 3x3, but .*a\.jpg is 3x2",
    ),
    "text label": (
        lambda r: (r / "SegmentationClass/a.png").write_text("cat"),
        r"a\.png: damaged or not an image",
    ),
    "colour label": (
        lambda r: Image.new("RGB", (3, 2)).save(r / "SegmentationClass/a.png"),
        r"a\.png: label of mode RGB; labels must be palette or grey PNGs",
    ),
    "16-bit label": (
        lambda r: Image.fromarray(np.zeros((2, 3), np.uint16)).save(r / "SegmentationClass/a.png"),
        r"a\.png: label of mode I;16",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_file_is_named(tmp_path, case):
    damage, message = BROKEN[case]
    root = voc_tree(tmp_path)
    damage(root)
    with pytest.raises(DataError, match=message):
        voc_segmentation(root, "train", 21)[0]


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "GTcls"), (b"MATLAB 5.0 but not", "GTcls"), ("other", r"no 'GTcls'")],
)
def test_broken_mat_is_named(tmp_path, content, why):
    root = sbd_tree(tmp_path)
    path = root / "cls/c.mat"
    if content == "other":
        scipy.io.savemat(path, {"mask": LABEL})
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"c\.mat: not an SBD label.*{why}"):
        sbd_segmentation(root, "train", 21)[0]


def test_missing_folder_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"data.root=.*nowhere: no such folder.*try scale=small"):
        voc_segmentation(tmp_path / "nowhere", "train", 21)
    with pytest.raises(DataError, match="contains no JPEGImages and SegmentationClass"):
        voc_segmentation(tmp_path, "train", 21)


def test_missing_split_lists_the_existing_ones(tmp_path):
    with pytest.raises(DataError, match=r"trian: no such list in .* \(it has train, val\); set"):
        voc_segmentation(voc_tree(tmp_path), "trian", 21)


def test_listed_image_without_file_is_found_at_the_start(tmp_path):
    root = voc_tree(tmp_path, train=("a", "c", "d"))
    (root / "JPEGImages/c.jpg").unlink()
    with pytest.raises(DataError, match=r"c\.jpg: no such image \(1 of 3 listed ids"):
        voc_segmentation(root, "train", 21)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n \n", "the list is empty"),
        (b"a\nb\na\n", "a is listed twice"),
        (b"\xff\xfe\x00", "not a UTF-8 text file"),
    ],
)
def test_bad_list_is_named(tmp_path, content, message):
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"mine\.txt: {message}"):
        read_ids(path)


def test_list_may_have_windows_line_ends(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"a\r\nb 1\r\n")
    assert read_ids(tmp_path / "list.txt") == ["a", "b"]


def test_images_of_other_modes_become_rgb(tmp_path):
    for mode in ("L", "CMYK", "RGBA", "P"):
        path = tmp_path / f"{mode}.tif"
        Image.new(mode, (4, 3)).save(path)
        assert read_rgb(path).shape == (3, 3, 4)


def test_exif_orientation_is_applied_only_on_request(tmp_path):
    image = Image.new("RGB", (4, 3))
    exif = image.getexif()
    exif[0x0112] = 6  # stored rotated by 90 degrees
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_rgb(tmp_path / "turned.jpg").shape == (3, 3, 4)
    assert read_rgb(tmp_path / "turned.jpg", upright=True).shape == (3, 4, 3)


@pytest.mark.real_data
def test_every_real_pair_reads(shared_data):
    for split in ("pairs_train", "pairs_seg11valid"):
        samples = voc_segmentation(shared_data / "voc", split, len(CLASS_NAMES))
        for i in range(0, len(samples), 20):
            assert samples[i].label.shape == samples[i].fields["rgb"].shape[1:]
    assert len(sbd_segmentation(shared_data / "sbd", "pairs", 21)) == 407


def test_grey_label_is_read_as_indices(tmp_path):
    Image.fromarray(LABEL).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_label_png(tmp_path / "grey.png"), LABEL)


def test_overlap_is_accepted_only_if_its_size_is_given(tmp_path):
    root = str(voc_tree(tmp_path / "voc", train=("a", "b"), val=("b", "c")))
    with pytest.raises(DataError, match=r"share 1 images, b first; .*data\.shared=1"):
        Voc(root, "train", "val").train(("rgb",))
    assert Voc(root, "train", "val", shared=1).train(("rgb",)).ids == ["a", "b"]
    with pytest.raises(DataError, match="share 1 images"):
        Voc(root, "train", "val", shared=2).train(("rgb",))


def test_overlap_of_voc_and_sbd_counts_both_lists(tmp_path):
    lists = (str(voc_tree(tmp_path / "voc", train=("a", "b"), val=("b", "c"))), "train", "val")
    sbd = (str(sbd_tree(tmp_path / "sbd")), "train")
    with pytest.raises(DataError, match=r"share 2 images, b first; .*data\.shared=2"):
        VocSbd(*lists, *sbd, shared=1).train(("rgb",))
    assert VocSbd(*lists, *sbd, shared=2).train(("rgb",)).ids == ["a", "b", "c", "d"]


def test_seg11valid_is_known_without_a_file(tmp_path):
    root = voc_tree(tmp_path / "voc")
    with pytest.raises(DataError, match="2007_000033.jpg: no such image .736 of 736 listed"):
        Voc(str(root), "train", "seg11valid").val(("rgb",))
    (root / "ImageSets/Segmentation/seg11valid.txt").write_text("b\n")  # the folder's own wins
    assert Voc(str(root), "train", "seg11valid").val(("rgb",)).ids == ["b"]
