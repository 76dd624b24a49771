from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

from fcnexp import VOID
from fcnexp.data.generated import rooms
from fcnexp.data.generated.furniture import (
    CEILING,
    CLASS_NAMES,
    DOOR,
    FLOOR,
    PICTURE,
    RUG,
    TABLE,
    WALL,
    draw_room,
)
from fcnexp.data.generated.raycast import intrinsics
from fcnexp.data.generated.rooms import frame, write_rooms
from fcnexp.data.hha import encode_hha
from fcnexp.data.splits import Rooms
from fcnexp.errors import ConfigError, DataError

SIZE = (48, 64)
ALL = ("rgb", "depth", "hha")


def write(root: Path, **changes) -> Path:
    return write_rooms(root, **{"num_train": 3, "num_val": 2, "size": SIZE, "seed": 0} | changes)


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def labels(split: str, num: int) -> np.ndarray:
    return np.stack([frame(7, split, index, SIZE).label for index in range(num)])


def view(index: int, size: tuple[int, int] = SIZE):
    """A room, its frame, and the world points at its pixel centres, (3, H, W)."""
    room = draw_room(np.random.Generator(np.random.PCG64(np.random.SeedSequence([7, 0, index]))))
    seen = frame(7, "train", index, size)
    points = room.camera.origin + seen.depth.ravel() * room.camera.rays(size)
    return room, seen, points.reshape(3, *size)


def test_flat_classes_lie_on_their_plane():
    flat = 0
    for index in range(12):
        room, seen, (_, _, z) = view(index)
        height = 2 * room.parts[0].body.box.half[2]
        for kind, level in ((FLOOR, 0), (RUG, 0), (CEILING, height)):
            np.testing.assert_allclose(z[seen.label == kind], level, atol=1e-9)
            flat += (seen.label == kind).sum()
    assert flat > 5000


def test_walls_doors_and_pictures_lie_on_the_walls():
    found = set()
    for index in range(12):
        room, seen, (x, y, _) = view(index)
        half = room.parts[0].body.box.half
        gap = np.minimum(np.abs(np.abs(x) - half[0]), np.abs(np.abs(y) - half[1]))
        for kind in (WALL, DOOR, PICTURE):
            assert gap[seen.label == kind].max(initial=0) < 1e-9
            found |= {kind} & set(seen.label.ravel())
    assert found == {WALL, DOOR, PICTURE}


def test_furniture_stands_out_from_floor_and_walls():
    for index in range(6):
        room, seen, (_, _, z) = view(index)
        assert (z[seen.label == TABLE] > -1e-9).all() and (z[seen.label == TABLE] < 0.81).all()
        furniture = (seen.label >= TABLE) & (seen.label != VOID)
        empty = room.parts[0].body.meet(room.camera.origin, room.camera.rays(SIZE)).reshape(SIZE)
        assert (seen.depth[furniture] < empty[furniture]).all()


def test_void_lies_between_classes():
    for index in range(6):
        label = frame(7, "train", index, SIZE).label.astype(int)
        void = label == VOID
        assert 0.01 < void.mean() < 0.12
        most = maximum_filter(np.where(void, -1, label), 3)
        least = minimum_filter(np.where(void, 99, label), 3)
        assert (most > least)[void].mean() > 0.9  # the rest are distant table legs


def test_every_class_is_frequent_and_none_fills_the_images():
    for split, num in (("train", 60), ("test", 60)):
        stack = labels(split, num)
        for kind in range(len(CLASS_NAMES)):
            assert (stack == kind).any((1, 2)).sum() >= 10
            assert 0.01 < (stack == kind).mean() < 0.6


def test_coats_do_not_depend_on_the_class():
    rooms_drawn = [draw_room(np.random.default_rng(seed)) for seed in range(300)]
    tones: dict[int, list] = {kind: [] for kind in range(len(CLASS_NAMES))}
    for room in rooms_drawn:
        for thing in (*room.parts, *room.sheets):
            tones[thing.class_index].append(thing.coat.tones[0])
    means = np.array([np.mean(tones[kind], 0) for kind in tones])
    assert np.abs(means - means.mean(0)).max() < 0.06


def test_folder_has_nyuds_layout_with_disjoint_lists(tmp_path):
    root = write(tmp_path / "rooms")
    train, test = ((root / f"{name}.txt").read_text().split() for name in ("train", "test"))
    assert train == ["train_0000", "train_0001", "train_0002"] and test == [
        "test_0000",
        "test_0001",
    ]
    for folder in ("data/images", "data/depth", "data/hha", "segmentation"):
        stems = {path.stem for path in (root / folder).iterdir()}
        assert stems == {f"img_{name}" for name in train + test}
    assert list(tmp_path.iterdir()) == [root]  # no partial folder is left


def test_files_contain_the_frame(tmp_path):
    root = write(tmp_path / "rooms")
    seen = frame(0, "test", 1, SIZE)
    rgb, depth, hha = (
        np.asarray(Image.open(root / f"data/{name}/img_test_0001.png"))
        for name in ("images", "depth", "hha")
    )
    label = scipy.io.loadmat(root / "segmentation/img_test_0001.mat")["segmentation"]
    assert depth.dtype == np.uint16 and rgb.dtype == hha.dtype == label.dtype == np.uint8
    np.testing.assert_array_equal(rgb, seen.rgb)
    assert np.abs(depth / 1000 - seen.depth).max() <= 0.0005 + 1e-9
    np.testing.assert_array_equal(hha, encode_hha(depth / 1000, None, intrinsics(SIZE)))
    np.testing.assert_array_equal(label, np.where(seen.label == VOID, 0, seen.label + 1))


def test_hha_gives_height_and_angle_of_the_floor():
    found = 0
    for index in range(12):
        _, seen, points = view(index, (120, 160))
        floor = np.isin(seen.label, (FLOOR, RUG))
        # HHA takes floors less than 90 cm below the camera for tables: HHA_SPEC sec. 5.
        if floor.mean() < 0.2:
            continue
        hha = encode_hha(seen.depth, None, intrinsics((120, 160))).astype(int)
        found += 1
        assert np.median(np.abs(hha[floor][:, 2] - 38)) <= 3
        assert np.median(np.abs(hha[..., 1] - 100 * points[2])[points[2] < 2.5]) <= 10
    assert found >= 3


def test_reader_returns_all_fields_of_one_size(tmp_path):
    samples = Rooms(str(tmp_path), 2, 3, SIZE, 0).val(ALL)
    sample = samples[2]
    assert len(samples) == 3 and samples.ids[2] == sample.name == "test_0002"
    assert {name: tuple(field.shape) for name, field in sample.fields.items()} == {
        "rgb": (3, *SIZE),
        "depth": (1, *SIZE),
        "hha": (3, *SIZE),
    }
    np.testing.assert_array_equal(sample.label, frame(0, "test", 2, SIZE).label)
    assert Rooms.class_names == CLASS_NAMES and samples.num_classes == 10


def test_same_seed_writes_same_bytes_with_and_without_processes(tmp_path, monkeypatch):
    first = contents(write(tmp_path / "a"))
    monkeypatch.setattr(rooms, "_FEW", 0)
    assert contents(write(tmp_path / "b")) == first


def test_other_seed_or_split_gives_other_images():
    image = frame(0, "test", 0, SIZE).rgb
    for seed, split, index in [(1, "test", 0), (0, "train", 0), (0, "test", 1)]:
        assert (frame(seed, split, index, SIZE).rgb != image).mean() > 0.5


def test_image_does_not_depend_on_the_number_of_images(tmp_path):
    few, many = contents(write(tmp_path / "a")), contents(write(tmp_path / "b", num_train=4))
    shared = [name for name in few if "img_" in name]
    assert len(shared) == 20 and all(few[name] == many[name] for name in shared)


def test_second_call_rewrites_nothing(tmp_path):
    root = write(tmp_path / "rooms")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert write(root) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_interrupted_write_leaves_no_folder(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(rooms, "frame", fail)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "rooms")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("changes", [{"seed": 1}, {"num_val": 3}, {"size": (48, 65)}])
def test_folder_with_other_parameters_is_refused(tmp_path, changes):
    root = write(tmp_path / "rooms", num_train=1)
    with pytest.raises(DataError, match=f"{root} holds .*delete the folder"):
        write(root, **{"num_train": 1} | changes)


def test_folder_without_marker_is_refused(tmp_path):
    root = write(tmp_path / "rooms", num_train=1, num_val=1)
    (root / "rooms.json").unlink()
    with pytest.raises(DataError, match=f"{root} .*no rooms.json.*delete the folder"):
        write(root)


@pytest.mark.parametrize(
    ("changes", "text"), [({"num_val": 0}, "num_val=0"), ({"size": (40, 64)}, r"size=\(40, 64\)")]
)
def test_invalid_arguments_are_refused_before_writing(tmp_path, changes, text):
    with pytest.raises(ConfigError, match=text):
        write(tmp_path / "rooms", **changes)
    assert list(tmp_path.iterdir()) == []
