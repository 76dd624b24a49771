import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnexp import VOID
from fcnexp.data.generated import shapes
from fcnexp.data.generated.shapes import CLASS_NAMES, scene, write_shapes
from fcnexp.data.palette import voc_palette
from fcnexp.errors import ConfigError, DataError

SIDE = (64, 80)


def write(root: Path, **changes) -> Path:
    return write_shapes(root, **{"num_train": 3, "num_val": 2, "side": SIDE, "seed": 0} | changes)


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def val_labels(num: int, side: tuple[int, int] = SIDE) -> list[np.ndarray]:
    return [scene(0, "val", index, side)[1] for index in range(num)]


def test_folder_has_vocs_layout(tmp_path):
    root = write(tmp_path / "shapes")
    names = {"train": ["train_0000", "train_0001", "train_0002"], "val": ["val_0000", "val_0001"]}
    for split, expected in names.items():
        assert (root / f"ImageSets/Segmentation/{split}.txt").read_text().split() == expected
    every = sorted(names["train"] + names["val"])
    assert sorted(p.name for p in (root / "JPEGImages").iterdir()) == [f"{n}.jpg" for n in every]
    labels = sorted(p.name for p in (root / "SegmentationClass").iterdir())
    assert labels == [f"{n}.png" for n in every]
    assert list(tmp_path.iterdir()) == [root]  # no partial folder is left


def test_files_contain_the_scene(tmp_path):
    root = write(tmp_path / "shapes")
    image, label = scene(0, "val", 1, SIDE)
    stored = Image.open(root / "SegmentationClass/val_0001.png")
    np.testing.assert_array_equal(np.asarray(stored), label)
    assert stored.mode == "P" and stored.getpalette()[:768] == voc_palette().ravel().tolist()
    jpeg = np.asarray(Image.open(root / "JPEGImages/val_0001.jpg"), float)
    assert jpeg.shape == image.shape and np.abs(jpeg - image).mean() < 6  # JPEG's loss


def test_same_seed_writes_same_bytes(tmp_path):
    first, second = contents(write(tmp_path / "a")), contents(write(tmp_path / "b"))
    assert first == second


def test_other_seed_or_split_gives_other_scenes():
    image = scene(0, "val", 0, (64, 64))[0]
    for seed, split, index in [(1, "val", 0), (0, "train", 0), (0, "val", 1)]:
        assert (scene(seed, split, index, (64, 64))[0] != image).mean() > 0.5


def test_image_does_not_depend_on_the_number_of_images(tmp_path):
    few, many = write(tmp_path / "few"), write(tmp_path / "many", num_train=5, num_val=4)
    for folder in ("JPEGImages", "SegmentationClass"):
        for path in (few / folder).iterdir():
            assert path.read_bytes() == (many / folder / path.name).read_bytes()


def test_sizes_cover_exactly_the_range():
    sides = np.array([label.shape for label in val_labels(60, (48, 51))])
    for axis in (0, 1):
        assert sorted(set(sides[:, axis])) == [48, 49, 50, 51]
    assert (sides[:, 0] != sides[:, 1]).any()


def test_labels_are_classes_or_void_and_every_class_is_frequent():
    labels = val_labels(60)
    assert set(np.unique(np.concatenate([m.ravel() for m in labels]))) == {*range(8), VOID}
    assert len(CLASS_NAMES) == 8 and CLASS_NAMES[0] == "background"
    for class_index in range(1, 8):
        assert sum((label == class_index).any() for label in labels) >= 10


def test_background_covers_most_of_the_image():
    labels = np.concatenate([label.ravel() for label in val_labels(60, (112, 144))])
    assert 0.6 < (labels == 0).mean() < 0.75
    assert 0.03 < (labels == VOID).mean() < 0.08


def test_void_separates_classes():
    for label in val_labels(30):
        for one, other in (
            (label[1:], label[:-1]),
            (label[:, 1:], label[:, :-1]),
            (label[1:, 1:], label[:-1, :-1]),
            (label[1:, :-1], label[:-1, 1:]),
        ):
            assert not ((one != other) & (one != VOID) & (other != VOID)).any()


@pytest.mark.parametrize("class_index", range(1, 8))
def test_distance_grows_by_one_per_pixel_at_the_edge(class_index):
    # The outline is one pixel wide on either side only if the distance has slope 1 there.
    y, x = np.indices((81, 81), dtype=np.float32) - 40
    distance = shapes._KINDS[class_index].form(y, x, 25.0, np.random.default_rng(0))
    slope = np.hypot(*np.gradient(distance))[np.abs(distance) < 1]
    assert np.median(slope) == pytest.approx(1, abs=0.02)
    assert slope.max() < 1.02


def test_ring_has_a_hole_and_disc_none():
    y, x = np.indices((81, 81), dtype=np.float32) - 40
    rng = np.random.default_rng(0)
    disc, ring = shapes._disc(y, x, 20.0, rng), shapes._ring(y, x, 20.0, rng)
    assert (disc < 0).sum() == pytest.approx(np.pi * 20**2, rel=0.01)
    assert disc[40, 40] < 0 < ring[40, 40] and ring[40, 57] < 0


def test_second_call_rewrites_nothing(tmp_path):
    root = write(tmp_path / "shapes")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert write(root) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_interrupted_write_leaves_no_folder(tmp_path, monkeypatch):
    def fail(path, label):
        raise KeyboardInterrupt

    monkeypatch.setattr(shapes, "save_indexed", fail)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "shapes")
    assert list(tmp_path.iterdir()) == []


def test_folder_without_marker_is_refused(tmp_path):
    root = write(tmp_path / "shapes")
    (root / "shapes.json").unlink()
    with pytest.raises(DataError, match=f"{root} .*no shapes.json.*delete the folder"):
        write(root)


@pytest.mark.parametrize("changes", [{"seed": 1}, {"num_val": 3}, {"side": (64, 81)}])
def test_folder_with_other_parameters_is_refused(tmp_path, changes):
    root = write(tmp_path / "shapes")
    with pytest.raises(DataError, match=f"{root} holds .*delete the folder"):
        write(root, **changes)


def test_folder_of_another_version_is_refused(tmp_path):
    root = write(tmp_path / "shapes")
    marker = root / "shapes.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"version": 0}))
    with pytest.raises(DataError, match="'version': 0"):
        write(root)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"num_val": 0}, "num_val=0"),
        ({"side": (80, 64)}, r"side=\(80, 64\)"),
        ({"side": (8, 64)}, r"side=\(8, 64\)"),
    ],
)
def test_invalid_arguments_are_refused_before_writing(tmp_path, changes, text):
    with pytest.raises(ConfigError, match=text):
        write(tmp_path / "shapes", **changes)
    assert list(tmp_path.iterdir()) == []
