import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_data import LABEL, own_tree
from PIL import Image

from fcnexp import VOID
from fcnexp.data import own
from fcnexp.data.masks import read_mask
from fcnexp.data.own import Folder, split_by_name
from fcnexp.data.palette import ClassesFile, indices_of_colours, save_indexed
from fcnexp.errors import DataError

COLOURS = {0: (0, 0, 0), 1: (128, 64, 128), VOID: (224, 224, 192)}
ROAD = ClassesFile(("background", "road"), COLOURS)


def folder(root: Path, train: str | None = None, val: str | None = None, share=0.5) -> Folder:
    return Folder(str(root), train, val, share)


def without_lists(root: Path, names: tuple[str, ...]) -> Path:
    own_tree(root, names)
    (root / "train.txt").unlink()
    (root / "val.txt").unlink()
    return root


def test_creating_the_data_set_touches_no_file(tmp_path):
    data = folder(tmp_path / "nowhere")
    assert data.provides == ("rgb", "bands")
    with pytest.raises(DataError, match=r"nowhere: no such folder"):
        _ = data.class_names
    own_tree(tmp_path / "own")
    (tmp_path / "own/classes.yaml").unlink()
    with pytest.raises(DataError, match=r"classes\.yaml: no such file; write `classes: \[backgr"):
        _ = folder(tmp_path / "own").class_names


def test_image_and_mask_are_read_with_their_classes(tmp_path):
    data = folder(own_tree(tmp_path))
    sample = data.train(("rgb",))[0]
    assert sample.name == "a" and torch.equal(sample.label, torch.from_numpy(LABEL))
    assert sample.fields["rgb"][0].min() > 190 and sample.fields["rgb"][1:].max() < 10
    assert data.class_names == tuple(f"c{i}" for i in range(21))
    assert data.train(("rgb",)).size(0) == (2, 3)


def test_a_folder_is_scanned_once(tmp_path, monkeypatch):
    """It may hold 200,000 files."""
    scans, scan = [], own.find_parts
    monkeypatch.setattr(own, "find_parts", lambda *given: scans.append(given) or scan(*given))
    data = folder(own_tree(tmp_path))
    for _ in range(2):
        assert data.train(("rgb",)).ids == ["a"] and data.val(("rgb",)).ids
    assert len(scans) == 1


def test_samples_can_be_sent_to_the_processes_that_read(tmp_path):
    samples = folder(own_tree(tmp_path)).train(("rgb",))
    sent = pickle.loads(pickle.dumps(samples))
    assert sent.ids == samples.ids and torch.equal(sent[0].label, samples[0].label)


def test_images_may_have_any_format_and_names_spaces_and_dots(tmp_path):
    root = own_tree(tmp_path, ("a", "my road 1.5", "c"))
    Image.new("RGB", (3, 2)).save(root / "images/c.PNG")
    (root / "images/c.jpg").unlink()
    for name in (".DS_Store", "._a.jpg", "notes.txt"):  # left there by macOS and people
        (root / "images" / name).write_text("")
    (root / "train.txt").write_text("my road 1.5\r\nc.PNG\r\n")
    (root / "val.txt").write_text("a.jpg")
    train = folder(root).train(("rgb",))
    assert train.ids == ["my road 1.5", "c"] and train[1].fields["rgb"].max() == 0


def test_lists_may_have_other_names_and_places(tmp_path):
    root = own_tree(tmp_path / "own", ("a", "b", "c"))
    (root / "few.txt").write_text("b")
    (tmp_path / "mine.txt").write_text("c")
    data = folder(root, "few", str(tmp_path / "mine.txt"))
    assert data.train(()).ids == ["b"] and data.val(()).ids == ["c"]
    assert folder(root, "few").val(()).ids == ["c"]  # the other list has its usual name


def test_one_list_is_not_enough(tmp_path):
    root = own_tree(tmp_path)
    (root / "val.txt").unlink()
    with pytest.raises(
        DataError, match=r": has train\.txt, but no list of the val images; write v"
    ):
        folder(root).train(())
    with pytest.raises(
        DataError, match=r"vla: no such list in .* \(it has train\); set data.val_sp"
    ):
        folder(root, None, "vla").val(())


@pytest.mark.parametrize("place", ["", "ImageSets/Segmentation"])
@pytest.mark.parametrize(
    "names", [("Train", "Validation"), ("TRAINING", "valid"), ("train", "Val")]
)
def test_lists_have_the_names_that_tools_give_them(place, names, tmp_path):
    root = without_lists(tmp_path, ("a", "b", "c"))
    (root / place).mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, "ca", strict=True):
        (root / place / f"{name}.txt").write_text(image)
    assert (folder(root).train(()).ids, folder(root).val(()).ids) == (["c"], ["a"])


def test_lists_beside_the_images_come_before_those_of_an_export(tmp_path):
    root = own_tree(tmp_path, ("a", "b", "c"))  # its own lists: all but the last, and the last
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for name in ("train", "val", "default"):
        (root / f"ImageSets/Segmentation/{name}.txt").write_text("a")
    assert (folder(root).train(()).ids, folder(root).val(()).ids) == (["a", "b"], ["c"])


def test_lists_that_share_an_image_are_refused(tmp_path):
    root = own_tree(tmp_path, ("a", "b", "c"))
    (root / "val.txt").write_text("c\nb.jpg")
    with pytest.raises(DataError, match=r"train and val of .* share 1 images, b first"):
        folder(root).train(())


def test_hidden_files_are_ignored(tmp_path):
    root = without_lists(tmp_path, tuple("abcdef"))
    (root / "images/._a.jpg").write_text("macOS writes such files on other disks")
    data = folder(root)
    assert sorted(data.train(()).ids + data.val(()).ids) == list("abcdef")


def test_without_lists_every_image_is_in_one_split(tmp_path):
    names = tuple(f"image {i}" for i in range(40))
    data = folder(without_lists(tmp_path, names), share=0.25)
    train, val = data.train(()).ids, data.val(()).ids
    assert sorted(train + val) == sorted(names) and 4 <= len(val) <= 17  # 10 +- 2.5 deviations


def test_empty_split_asks_for_lists(tmp_path):
    root = without_lists(tmp_path, ("a", "b"))
    for share, split in ((1e-9, "val"), (1 - 1e-9, "train")):
        with pytest.raises(
            DataError, match=rf"of 2 images leaves none in {split} .*; write the li"
        ):
            folder(root, share=share).train(())


def test_named_lists_are_used_if_the_usual_ones_are_missing(tmp_path):
    root = without_lists(tmp_path, ("a", "b", "c"))
    (root / "mine.txt").write_text("c")
    (root / "yours.txt").write_text("a")
    assert folder(root, "mine", "yours").train(()).ids == ["c"]


def test_split_of_an_image_depends_on_its_name_alone():
    few, many = [f"{i}" for i in range(50)], [f"{i}" for i in range(500)]
    splits = [split_by_name(names, 0.3, Path()) for names in (few, many, many[::-1])]
    assert splits[0]["val"] == [name for name in splits[1]["val"] if name in few]
    assert sorted(splits[1]["val"]) == sorted(splits[2]["val"])
    more = split_by_name(many, 0.6, Path())["val"]
    assert set(splits[1]["val"]) < set(more)
    # SHA-256 begins 4b22, 2c62 and 1958; of 1 it is 6b86
    assert splits[0]["val"][:3] == ["4", "8", "9"]


def test_without_lists_unpaired_files_are_refused(tmp_path):
    root = without_lists(tmp_path, tuple("abcdef"))
    (root / "images/b.jpg").unlink()
    with pytest.raises(DataError, match=r"masks.b\.png: 1 of 6 masks have no image in .*images"):
        folder(root).val(())
    (root / "masks/b.png").unlink()
    (root / "masks/d.png").rename(root / "masks/d_mask.png")
    with pytest.raises(DataError, match=r"d_mask\.png: 1 of 5 masks have no image"):
        folder(root).val(())


@pytest.mark.parametrize("share", [0, 1, -0.1, 20])
def test_val_share_is_between_0_and_1(tmp_path, share):
    with pytest.raises(ValueError, match=r"val_share=.*: must be between 0 and 1"):
        folder(tmp_path, share=share)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_declared_colours_become_indices(tmp_path, mode):
    label = np.array([[0, 1, VOID], [1, 1, 0]], np.uint8)
    pixels = np.array([[COLOURS[index] for index in row] for row in label], np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", ROAD), label)


def test_colours_equal_slow_loops():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 3, (20, 30, 3), np.uint8) * 127
    colours = {VOID: (254, 127, 0), 3: (0, 0, 0), 0: (0, 127, 254)}
    label, unknown = indices_of_colours(pixels, colours)
    for y, x in np.ndindex(20, 30):
        found = [i for i, rgb in colours.items() if rgb == tuple(pixels[y, x].tolist())]
        assert unknown[y, x] == (not found)
        assert unknown[y, x] or label[y, x] == found[0]


def test_undeclared_colours_are_counted_most_frequent_first(tmp_path):
    pixels = np.zeros((4, 7, 3), np.uint8)
    pixels[0, :, 0] = np.arange(1, 8)
    pixels[1:3] = 9
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    message = r"mask\.png: 8 colours .*: \[9, 9, 9\] in 14 pixels, \[7, 0, 0\] in 1 pixels"
    with pytest.raises(DataError, match=message) as error:
        read_mask(tmp_path / "mask.png", ROAD)
    assert str(error.value).count("pixels") == 5


def test_palette_in_a_different_order_is_refused(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [1, 1]], np.uint8))
    image.putpalette([0, 0, 0, 224, 224, 192])
    image.save(tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"index 1 .* \[224, 224, 192\], .* declares for index 255"):
        read_mask(tmp_path / "mask.png", ROAD)
    plain = ClassesFile(("background", "road"), {})
    assert read_mask(tmp_path / "mask.png", plain).tolist() == [[0, 1], [1, 1]]


def test_palette_of_other_colours_is_ignored(tmp_path):
    save_indexed(tmp_path / "mask.png", np.array([[0, 1, VOID]], np.uint8))
    assert read_mask(tmp_path / "mask.png", ROAD).tolist() == [[0, 1, VOID]]


def test_colours_may_be_a_list_or_by_name_in_any_order(tmp_path):
    root = own_tree(tmp_path)
    for colours in ("[[0, 0, 0], [9, 8, 7]]", "{road: [9, 8, 7], background: [0, 0, 0]}"):
        (root / "classes.yaml").write_text(f"classes: [background, road]\ncolours: {colours}\n")
        assert folder(root)._classes.colours == {0: (0, 0, 0), 1: (9, 8, 7)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no key classes; write `classes:"),
        ("[a, b]", "has no key classes"),
        ("classes: [a", r"not YAML \(.*\); write"),
        ("classes: a", "classes is 'a', not a list"),
        ("classes: []", r"classes is \[\], not a list"),
        ("classes: [a, no]", "class False is not a name; write it in quotes"),
        ("classes: [a, ' ']", "class ' ' is not a name"),
        ("classes: [a, b, a]", "class a is listed twice"),
        ("classes: [a, void]", "void is not a class; remove it"),
        (
            f"classes: [{', '.join(f'c{i}' for i in range(10_001))}]",
            "10001 classes; at most 10000 are allowed",
        ),
        ("classes: [a]\ncolors: {}", "colors: no such key; choose one of classes, colours"),
        ("classes: [a, b]\ncolours: {a: [0, 0, 0]}", r"do not match classes \(b\); give one"),
        ("classes: [a]\ncolours: {a: [0, 0, 0], c: [1, 1, 1]}", r"do not match classes \(c\)"),
        ("classes: [a]\ncolours: [[0, 0, 0], [1, 1, 1]]", "do not match classes"),
        ("classes: [a]\ncolours: {a: [0, 0, 256]}", r"colour of a is \[0, 0, 256\]; give \[red"),
        ("classes: [a]\ncolours: {a: [0, 0.5, 1]}", r"colour of a is \[0, 0.5, 1\]; give"),
        ("classes: [a]\ncolours: {a: '#ffffff'}", "colour of a is '#ffffff'; give"),
        ("classes: [a, b]\ncolours: [[0, 1, 0], [0, 1, 0]]", r"of b, \[0, 1, 0\], is used twice"),
    ],
)
def test_invalid_classes_file_says_what_to_write(tmp_path, content, message):
    (tmp_path / "classes.yaml").write_text(content)
    with pytest.raises(DataError, match=rf"classes\.yaml: .*{message}"):
        _ = folder(tmp_path).class_names


def test_split_by_name_is_logged_once(tmp_path, caplog):
    data = folder(without_lists(tmp_path, tuple("abcdefgh")))
    with caplog.at_level("INFO"):
        data.train(("rgb",))
        data.val(("rgb",))
    assert len([text for text in caplog.messages if "no lists" in text]) == 1


@pytest.mark.parametrize(("share", "level"), [(0.1, "INFO"), (0.3, "WARNING")])
def test_a_validation_set_of_another_size_than_asked_is_warned_of(share, level, tmp_path, caplog):
    root = without_lists(tmp_path, tuple("abcdefgh"))
    with caplog.at_level("INFO"):
        val = folder(root, share=share).val(("rgb",))
    (record,) = (r for r in caplog.records if "no lists" in r.message)
    assert record.levelname == level and f"{len(val)} for validation" in record.message
    assert ("30% were asked" in record.message) == (level == "WARNING")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("frm", r"data\.root=.*frm: no such folder; set it to the folder that contains"),
        ("empty", r"data\.root=.*empty: contains no images and masks \(no folder is there\)"),
        ("own/images", "images: 2 images, and no name says which are masks"),
    ],
)
def test_a_wrong_folder_is_said_before_the_class_names_are_missed(place, message, tmp_path):
    own_tree(tmp_path / "own")
    (tmp_path / "own/classes.yaml").unlink()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        _ = folder(tmp_path / place).class_names


def test_an_archive_is_to_be_unpacked(tmp_path):
    (tmp_path / "pets.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"pets\.zip: a file; unpack it; set it to the folder"):
        folder(tmp_path / "pets.zip").train(())
    with pytest.raises(DataError, match="a file; unpack it"):
        _ = folder(tmp_path / "pets.zip").class_names
