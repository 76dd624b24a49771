"""The official NYUDv2 file is converted to the papers' layout."""

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from omegaconf import OmegaConf
from PIL import Image
from places import SHARED

from fcnexp.data import nyud_official
from fcnexp.data.hha import NYUD_CROP, NYUD_INTRINSICS, crop_intrinsics, encode_hha
from fcnexp.data.nyud import CLASS_NAMES
from fcnexp.data.nyud_facts import split_of
from fcnexp.data.nyud_official import OfficialFile, class_table, convert, is_converted, millimetres
from fcnexp.errors import DataError
from fcnexp.prepare import get_nyud

GOLDEN = SHARED / "golden/hha"


def write_mat(path: Path, names: list[str], **images: np.ndarray) -> Path:
    """Write an HDF5 file with the official structure; images are indexed as in MATLAB."""
    axes = {
        "images": (3, 2, 1, 0),
        "depths": (2, 1, 0),
        "rawDepths": (2, 1, 0),
        "labels": (2, 1, 0),
    }
    with h5py.File(path, "w") as file:
        for name, array in images.items():
            file[name] = array.transpose(axes[name])
        refs = file.create_dataset("names", (1, len(names)), dtype=h5py.ref_dtype)
        for i, name in enumerate(names):
            codes = np.array([[ord(c)] for c in name], np.uint16)
            refs[0, i] = file.create_dataset(f"#refs#/{i}", data=codes).ref
    return path


def made_up(count: int = 2, **changes: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 5, (480, 640, count)).astype(np.float32)
    return {
        "images": rng.integers(0, 256, (480, 640, 3, count)).astype(np.uint8),
        "depths": depth,
        "rawDepths": np.where(rng.random(depth.shape) < 0.1, 0, depth).astype(np.float32),
        "labels": rng.integers(0, 895, (480, 640, count)).astype(np.uint16),
    } | changes


@pytest.fixture
def official_names(monkeypatch) -> list[str]:
    """894 names in place of the official ones, including the first 37 classes."""
    names = [f"thing {i}" for i in range(894)]
    names[100:137] = CLASS_NAMES[:37]
    monkeypatch.setattr(
        nyud_official, "NAMES_SHA256", hashlib.sha256("\n".join(names).encode()).hexdigest()
    )
    return names


def test_splits_equal_the_release():
    places = split_of()
    assert {name: len(ids) for name, ids in places.items()} == {
        "train": 381,
        "val": 414,
        "test": 654,
    }
    assert sorted(sum(places.values(), [])) == list(range(1449))
    assert 0 in places["test"] and 9 in places["val"]  # image 1 is a test image; 5010 in val


def test_image_is_cropped_transposed_and_mapped(tmp_path, official_names):
    images = made_up()
    path = write_mat(tmp_path / "a.mat", official_names, **images)
    with OfficialFile(path) as official:
        frame = official.frame(1)
    np.testing.assert_array_equal(frame.rgb, images["images"][45:470, 40:600, :, 1])
    expected = np.floor(images["depths"][45:470, 40:600, 1] * np.float32(1000) + 0.5)
    np.testing.assert_array_equal(frame.depth, expected)
    np.testing.assert_array_equal(frame.raw_depth == 0, images["rawDepths"][45:470, 40:600, 1] == 0)
    label = images["labels"][45:470, 40:600, 1]
    assert set(frame.label[label == 101]) == {1} and set(frame.label[label == 0]) == {0}
    assert set(frame.label[label == 8]) == {38} and set(frame.label[label == 12]) == {39}
    assert set(frame.label[label == 500]) == {40}


def test_halves_of_a_millimetre_are_rounded_up():
    metres = np.array([0, 0.0005, 0.0015, 1.2344, 65.535], np.float32)
    assert millimetres(metres, "x").tolist() == [0, 1, 2, 1234, 65535]
    for metres in (70, -0.001, np.nan, np.inf):
        with pytest.raises(DataError, match="x: depth must be 0 to 65.5 metres"):
            millimetres(np.array([1, metres], np.float32), "x")


def test_label_beyond_the_names_is_refused(tmp_path, official_names):
    labels = np.zeros((480, 640, 2), np.uint16)
    labels[240, 320] = 894, 895
    with OfficialFile(write_mat(tmp_path / "a.mat", official_names, **made_up(labels=labels))) as f:
        assert f.frame(0).label[240 - 45, 320 - 40] == 40
        with pytest.raises(DataError, match=r"labels\[1\] contains 895; allowed are 0 to 894"):
            f.frame(1)


def test_conversion_writes_the_papers_layout_and_its_label_last(tmp_path, official_names):
    path = write_mat(tmp_path / "a.mat", official_names, **made_up(1))
    assert not is_converted(0, tmp_path / "nyud")
    convert(path, 0, tmp_path / "nyud")
    assert is_converted(0, tmp_path / "nyud")
    written = {str(p.relative_to(tmp_path / "nyud")) for p in (tmp_path / "nyud").rglob("*.*")}
    assert written == {
        *(f"data/{name}/img_5001.png" for name in ("images", "depth", "rawdepth", "hha")),
        "segmentation/img_5001.mat",
    }
    label = scipy.io.loadmat(tmp_path / "nyud/segmentation/img_5001.mat")["segmentation"]
    assert label.shape == (425, 560) and label.dtype == np.uint8
    depth, raw, hha = (
        np.array(Image.open(tmp_path / f"nyud/data/{name}/img_5001.png"))
        for name in ("depth", "rawdepth", "hha")
    )
    camera = crop_intrinsics(NYUD_INTRINSICS, *NYUD_CROP)
    np.testing.assert_array_equal(hha, encode_hha(depth / 1000, raw == 0, camera))


def test_interrupted_conversion_does_not_count_as_done(tmp_path, official_names):
    path = write_mat(tmp_path / "a.mat", official_names, **made_up(1))
    (tmp_path / "nyud/data/hha/img_5001.png").mkdir(
        parents=True
    )  # makes writing the HHA image fail
    with pytest.raises(OSError):
        convert(path, 0, tmp_path / "nyud")
    assert not is_converted(0, tmp_path / "nyud")


def test_prepare_converts_missing_images_and_lists_all(tmp_path, official_names, capsys):
    root = tmp_path / "nyud"
    path = write_mat(tmp_path / "a.mat", official_names, **made_up(2))
    (root / "segmentation").mkdir(parents=True)
    (root / "segmentation/img_5001.mat").write_bytes(b"done before")
    cfg = OmegaConf.create({"mat": str(path), "data": {"root": str(root)}, "workers": 0})
    get_nyud(cfg)
    assert "1 of 2 images exist; converting 1" in capsys.readouterr().out
    assert [p.name for p in (root / "data/images").iterdir()] == ["img_5002.png"]
    lists = {name: (root / f"{name}.txt").read_text() for name in ("train", "val", "test")}
    assert lists == {"train": "", "val": "", "test": "5001\n5002\n"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((480, 640, 4, 2), np.uint8)}, "images is .* not .'N', 3, 640, 480."),
        ({"depths": np.zeros((640, 480, 2), np.float32)}, "depths is .* not .'N', 640, 480."),
        ({"rawDepths": np.zeros((480, 640, 2))}, "rawDepths is float64, not float32"),
        ({"labels": np.zeros((480, 640, 2), np.uint8)}, "labels is uint8, not uint16"),
        (
            {"labels": np.zeros((480, 640, 3), np.uint16)},
            "'labels': 3.* images; the numbers must be equal",
        ),
    ],
)
def test_wrong_shapes_and_types_are_refused_with_the_name(
    tmp_path, official_names, changes, message
):
    path = write_mat(tmp_path / "a.mat", official_names, **made_up(**changes))
    with pytest.raises(DataError, match=message):
        OfficialFile(path)


def test_missing_variables_other_names_and_other_files_are_refused(tmp_path, official_names):
    images = made_up()
    images.pop("rawDepths")
    with pytest.raises(DataError, match="no variable rawDepths; the file has depths, images"):
        OfficialFile(write_mat(tmp_path / "a.mat", official_names, **images))
    with pytest.raises(DataError, match="names are not the 894 official ones"):
        OfficialFile(write_mat(tmp_path / "b.mat", official_names[::-1], **made_up(1)))
    (tmp_path / "c.mat").write_text("hello")
    with pytest.raises(DataError, match="c.mat: damaged or not MATLAB v7.3"):
        OfficialFile(tmp_path / "c.mat")
    with pytest.raises(DataError, match="no such file; use nyu_depth_v2_labeled.mat"):
        OfficialFile(tmp_path / "none.mat")


@pytest.mark.real_data
def test_classes_equal_guptas_table(shared_data):
    meta = scipy.io.loadmat(shared_data / "nyud_meta/classMapping40.mat")
    names = [str(cell[0]) for cell in meta["allClassName"].ravel()]
    np.testing.assert_array_equal(class_table(names), [0, *meta["mapClass"].ravel()])


@pytest.mark.real_data
def test_image_1_converts_to_the_published_files(tmp_path, shared_data):
    """Real colour, depth and labels of image 1; names and 894 labels from Gupta's table."""
    full, crop = GOLDEN / "nyu0001_full", GOLDEN / "nyu0001_crop"
    meta = scipy.io.loadmat(shared_data / "nyud_meta/classMapping40.mat")
    names = [str(cell[0]) for cell in meta["allClassName"].ravel()]
    label40 = np.array(Image.open(full / "label40.png"))
    first = {int(c): i + 1 for i, c in reversed(list(enumerate(meta["mapClass"].ravel())))} | {0: 0}
    rgb = np.zeros((480, 640, 3), np.uint8)
    rgb[45:470, 40:600] = np.array(Image.open(crop / "rgb.png"))
    raw = np.array(Image.open(full / "rawdepth_e-4m.png")).astype(np.float32) / 10000
    path = write_mat(
        tmp_path / "a.mat",
        names,
        images=rgb[..., None],
        depths=np.load(full / "depth_m.npy").astype(np.float32)[..., None],
        rawDepths=raw[..., None].astype(np.float32),
        labels=np.vectorize(first.get)(label40).astype(np.uint16)[..., None],
    )
    convert(path, 0, tmp_path / "nyud")
    out = tmp_path / "nyud/data"
    pixels = {
        n: np.array(Image.open(out / n / "img_5001.png")) for n in ("images", "depth", "rawdepth")
    }
    np.testing.assert_array_equal(pixels["images"], rgb[45:470, 40:600])
    np.testing.assert_array_equal(pixels["depth"], np.array(Image.open(crop / "depth_mm.png")))
    raw_mm = np.array(Image.open(crop / "rawdepth_mm.png")).astype(int)
    assert np.abs(pixels["rawdepth"].astype(int) - raw_mm).max() <= 1  # from a file cut to 0.1 mm
    np.testing.assert_array_equal(pixels["rawdepth"] == 0, raw_mm == 0)
    label = scipy.io.loadmat(tmp_path / "nyud/segmentation/img_5001.mat")["segmentation"]
    np.testing.assert_array_equal(label, label40[45:470, 40:600])
