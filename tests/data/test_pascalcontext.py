"""PASCAL-Context's layout, and the reduction of its 459 classes as by the release's data layer."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from fake_data import LABEL_MAP, context_tree, mat

from fcnexp.config.compose import compose_run
from fcnexp.data.archives import CONTEXT, VOC2010, unpack
from fcnexp.data.pascalcontext import STORED, TASKS, VALUES, PascalContext, read_context_label
from fcnexp.errors import DataError
from fcnexp.papers.published import comparable, published


def data(root: Path, classes: int = 59, **lists: str) -> PascalContext:
    voc, context = str(root / "voc"), str(root / "context")
    return PascalContext(voc, context, **{"train_split": "train", "val_split": "val"} | lists,
                         classes=classes)  # fmt: skip


def release_label(stored: np.ndarray, names: list[str], values: dict[str, int]) -> np.ndarray:
    """The label as the release's loop makes it, one class after the other."""
    label = np.zeros_like(stored, dtype=np.uint8)
    for place, name in enumerate(names):
        label[stored == values[name]] = place + 1
    return label


def test_lists_have_59_and_33_classes_in_the_order_of_the_sources():
    assert [len(set(names)) for names in (VALUES, TASKS[59], TASKS[33])] == [59, 59, 33]
    assert len(set(VALUES.values())) == 59 and max(VALUES.values()) < STORED
    assert TASKS[33][:20] == TASKS[59][:20] and set(TASKS[33]) < set(TASKS[59])
    # Output numbers of the release's classes-59.txt, values of its classes-400.txt.
    for name, output, value in (
        *(("aeroplane", 1, 2), ("diningtable", 11, 397), ("tvmonitor", 20, 427), ("bag", 21, 9)),
        *(("clothes", 28, 80), ("keyboard", 38, 220), ("mouse", 41, 260), ("curtain", 42, 105)),
        *(("platform", 43, 296), ("sign", 44, 355), ("bedcloth", 52, 19), ("wood", 59, 458)),
    ):
        assert (TASKS[59][output - 1], VALUES[name]) == (name, value)
    initials = "".join(name[0] for name in TASKS[59])  # of the release's list, typed by hand
    assert initials == "".join(
        ("abbbbbcccc", "ddhmppsstt", "bbbbbccccc", "dffffggklm", "mcpsprrsss", "sbtttwwww")
    )


def test_values_are_those_that_other_loaders_take():
    """The mapping of GluonCV and its descendants, sorted; 0 is its background."""
    others = [
        *(2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105),
        *(113, 115, 144, 158, 159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296),
        *(308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397, 415, 416, 420, 424, 427, 440),
        *(445, 454, 458),
    ]
    assert sorted(VALUES.values()) == others


def test_all_459_values_are_reduced_as_by_the_release(tmp_path):
    stored = np.arange(STORED + 1, dtype=np.uint16).reshape(20, 23)
    (tmp_path / "a.mat").write_bytes(mat(LabelMap=stored))
    for count, names in TASKS.items():
        found = read_context_label(tmp_path / "a.mat", tuple(VALUES[name] for name in names))
        expected = release_label(stored, list(names), VALUES)
        assert found.dtype == np.uint8 and (found == expected).all() and found.max() == count
    assert np.bincount(found.ravel())[0] == 460 - 33  # everything else, unlabelled too


@pytest.mark.parametrize(("classes", "label"), [(59, [[11, 0, 0], [1, 0, 59]]),
                                                (33, [[11, 0, 0], [1, 0, 0]])])  # fmt: skip
def test_sets_follow_the_lists_of_voc_2010(tmp_path, classes, label):
    context_tree(tmp_path)
    found = data(tmp_path, classes)
    sample = found.train(("rgb",))[0]
    assert found.train(("rgb",)).ids == ["b", "a"] and found.val(()).ids == ["c"]
    assert sample.label.tolist() == label and sample.fields["rgb"].shape == (3, 2, 3)
    assert len(found.class_names) == classes + 1 and found.class_names[11] == "diningtable"


def test_voc_2012_beside_it_is_not_taken(tmp_path):
    context_tree(tmp_path / "made")
    (tmp_path / "voc/VOCdevkit").mkdir(parents=True)
    (tmp_path / "made/voc").rename(tmp_path / "voc/VOCdevkit/VOC2010")
    (tmp_path / "made/context").rename(tmp_path / "context")
    for folder in ("JPEGImages", "ImageSets/Main"):
        (tmp_path / "voc/VOCdevkit/VOC2012" / folder).mkdir(parents=True)
    assert data(tmp_path).val(("rgb",)).ids == ["c"]


def test_images_of_voc_2012_serve_with_lists_beside_the_labels(tmp_path):
    context_tree(tmp_path)
    (tmp_path / "voc/ImageSets/Main/val.txt").write_text("x\n")  # VOC 2012's own
    (tmp_path / "context/val.txt").write_text("c\n")
    assert data(tmp_path).val(("rgb",)).ids == ["c"]
    (tmp_path / "mine.txt").write_text("a\n")
    assert data(tmp_path, train_split=str(tmp_path / "mine.txt")).train(("rgb",)).ids == ["a"]


def test_mistakes_are_named(tmp_path):
    context_tree(tmp_path)
    found = data(tmp_path)
    with pytest.raises(ValueError, match="classes=60: allowed are 59 and 33"):
        data(tmp_path, classes=60)
    with pytest.raises(DataError, match="train and train share 2 images, a first"):
        data(tmp_path, val_split="train").train(("rgb",))
    with pytest.raises(DataError, match=r"trainvl: no such list in .*Main or .*set data\.\*_split"):
        data(tmp_path, val_split="trainvl").val(("rgb",))
    labels = tmp_path / "context/trainval"
    for content, message in (
        (
            mat(LabelMap=LABEL_MAP + np.uint16(1)),
            r"b\.mat: label value 460 in 1 pixels; .* 0 to 459; take",
        ),
        (mat(LabelMap=LABEL_MAP + 0.5), "label value 0.5, "),
        (mat(LabelMap=np.zeros((2, 3, 2))), r"LabelMap is ndarray of float64 \(2, 3, 2\), not"),
        (
            mat(GTcls=LABEL_MAP),
            r"not a PASCAL-Context label, cannot read LabelMap \(no 'LabelMap'\)",
        ),
        (mat(LabelMap=LABEL_MAP.T), r"b\.mat: is 2x3, but .*b\.jpg is 3x2"),
    ):
        (labels / "b.mat").write_bytes(content)
        with pytest.raises(DataError, match=message):
            found.train(("rgb",))[0]
    (labels / "b.mat").unlink()
    with pytest.raises(DataError, match=r"b\.mat: no such label \(1 of 2 listed ids"):
        found.train(("rgb",))


def test_both_archives_are_read_where_they_were_unpacked(tmp_path):
    context_tree(tmp_path / "made")
    (tmp_path / "made/context/labels.txt").write_text("1: accordion\n")
    (tmp_path / "made/context/readme").write_text("not wanted")
    for name, base, source in (("v.tar", VOC2010.base, "voc"), ("c.tar", ".", "context")):
        with tarfile.open(tmp_path / name, "w") as tar:
            tar.add(tmp_path / "made" / source, base)
    assert unpack(tmp_path / "v.tar", tmp_path / "voc", VOC2010, print) == 5
    assert unpack(tmp_path / "c.tar", tmp_path / "context", CONTEXT, print) == 4
    assert data(tmp_path).train(("rgb",)).ids == ["b", "a"]
    with pytest.raises(DataError, match=r"v\.tar: contains no trainval; use trainval\.tar\.gz"):
        unpack(tmp_path / "v.tar", tmp_path / "other", CONTEXT, print)


def test_published_scores_are_those_of_the_same_task():
    row = published({"table": "pami_context", "row": "fcn8s"})
    for count, same in ((59, True), (33, False)):
        cfg = compose_run(["data=pascalcontext", f"data.classes={count}"])
        node = {"_target_": cfg.data._target_, "val_split": "val", "classes": cfg.data.classes}
        assert comparable(row, {"data": node}) == same
