"""SIFT Flow's layout and its two labels, read as by the release's data layer."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_data import GEOMETRIC, SEMANTIC, mat, siftflow_tree
from places import SHARED

from fcnexp import VOID
from fcnexp.config.compose import compose_run
from fcnexp.data import siftflow
from fcnexp.data.folders import concatenate
from fcnexp.data.sampling import ReleaseDraws
from fcnexp.data.siftflow import SCENES, UNLABELLED, SiftFlow
from fcnexp.errors import DataError
from fcnexp.papers.published import comparable, published

GOLDEN = SHARED / "golden/siftflow"
MEAN = np.array([114.578, 115.294, 108.353], np.float32)[:, None, None]  # BGR, of the release


def data(root: Path, **lists: str) -> SiftFlow:
    return SiftFlow(str(root), **{"train_split": "trainval", "val_split": "test"} | lists)


@pytest.mark.real_data
@pytest.mark.parametrize(("split", "steps"), [("trainval", 20), ("test", 4)])
def test_labels_and_order_equal_those_of_the_releases_layer(split, steps):
    """Images to one grey level, by which Pillow's versions differ in decoding JPEG."""
    if not GOLDEN.is_dir():
        pytest.skip(f"skipped: needs {GOLDEN}")
    released, order = (
        np.load(GOLDEN / "release.npz"),
        json.loads((GOLDEN / "release.json").read_text()),
    )
    found = data(GOLDEN)
    samples = found.train(("rgb",)) if split == "trainval" else found.val(("rgb",))
    draws = [draw.image for draw in islice(ReleaseDraws(len(samples), 1337, 0), steps)]
    for step, index in enumerate(draws if split == "trainval" else range(steps)):
        sample = samples[index]
        assert sample.name == order[split][step]
        labels = {"sem": sample.label, "geo": sample.further["geo"]}
        for name, label in labels.items():
            theirs = released[f"{split}/{step}/{name}"][0, 0]
            assert np.array_equal(label.numpy(), theirs) and label.shape == (32, 32)
        bgr = sample.fields["rgb"].flip(0).numpy() - MEAN
        assert np.abs(bgr - released[f"{split}/{step}/data"][0]).max() < 1.001


def test_a_sample_has_both_labels_and_its_files(tmp_path):
    found = data(siftflow_tree(tmp_path))
    train, val = found.train(("rgb",)), found.val(())
    assert train.ids == ["coast_b", "coast_a"] and val.ids == ["coast_c"] and not val.fields
    sample = concatenate([train, train])[3]
    assert sample.name == "coast_a" and sample.fields["rgb"].shape == (3, 2, 3)
    assert sample.label.tolist() == [[VOID, 0, 32], [27, 8, VOID]]
    assert sample.further["geo"].tolist() == [[VOID, 2, 2], [0, 1, VOID]]
    assert torch.equal(concatenate([train]).read_further(1, "geo"), sample.further["geo"])
    folders = [path.parts[-3] for path in train.paths(1)]
    assert folders == ["Images", "SemanticLabels", "GeoLabels"]


def test_classes_are_the_releases_in_its_order():
    assert [len(siftflow.SEMANTIC), len(siftflow.GEOMETRIC)] == [33, 3]
    # classes.txt of the release counts from 1.
    for number, name in ((1, "awning"), (9, "cow"), (11, "desert"), (16, "moon"), (28, "sky")):
        assert siftflow.SEMANTIC[number - 1] == name
    assert list(siftflow.SEMANTIC) == sorted(siftflow.SEMANTIC)
    assert siftflow.GEOMETRIC == ("sky", "horizontal", "vertical")


def test_the_set_of_the_paper_is_divided_without_lists(tmp_path):
    """2688 images, of which two have no annotation: 2486 and 200, as in the release's lists."""
    siftflow_tree(tmp_path, train=(), test=())
    for split in ("trainval", "test"):
        (tmp_path / f"{split}.txt").unlink()
    listed = siftflow.listed_ids(tmp_path, "test")
    assert len(set(listed)) == 200 and listed[0] == "coast_natu975"  # as in the release's list
    others = [f"coast_{number}" for number in range(2486)]
    for name in (*listed, *others, *UNLABELLED):
        (tmp_path / "SemanticLabels" / SCENES / f"{name}.mat").touch()
    found = siftflow.listed_ids(tmp_path, "trainval")
    assert found == sorted(others) and not {*found} & {*listed}


def test_mistakes_are_named(tmp_path):
    root = siftflow_tree(tmp_path)
    found = data(root)
    with pytest.raises(DataError, match="test and test share 1 images, coast_c first"):
        data(root, train_split="test").train(("rgb",))
    with pytest.raises(DataError, match=r"tests: no such list in .* \(it has test, trainval\)"):
        data(root, val_split="tests").val(("rgb",))
    semantic, geometric = (root / f"{kind}Labels" / SCENES for kind in ("Semantic", "Geo"))
    for folder, content, message in (
        (
            semantic,
            mat(S=SEMANTIC + np.uint8(1)),
            r"b\.mat: label value 34 in 1 pixels; .* 1 to 33",
        ),
        (geometric, mat(S=GEOMETRIC - 1), r"label value -2 in 1 pixels; allowed are 1 to 3 for"),
        (geometric, mat(S=GEOMETRIC + 0.5), "label value -0.5, "),
        (semantic, mat(T=SEMANTIC), r"not a SIFT Flow label, cannot read S \(no 'S'\)"),
        (semantic, mat(S=np.zeros((2, 3, 2))), r"S is ndarray of float64 \(2, 3, 2\), not numbers"),
        (geometric, mat(S=GEOMETRIC.T), r"GeoLabels.*b\.mat: is 2x3, but .*b\.mat is 3x2"),
        (semantic, mat(S=SEMANTIC.T), r"b\.mat: is 2x3, but .*b\.jpg is 3x2"),
    ):
        kept = (folder / "coast_b.mat").read_bytes()
        (folder / "coast_b.mat").write_bytes(content)
        with pytest.raises(DataError, match=message):
            found.train(("rgb",))[0]
        (folder / "coast_b.mat").write_bytes(kept)
    (geometric / "coast_b.mat").unlink()
    with pytest.raises(DataError, match=r"b\.mat: no such label of geo \(1 of 2 listed ids"):
        found.train(("rgb",))


def test_published_scores_are_those_of_the_test_set():
    row = published({"table": "cvpr_table5", "row": "fcn16s"})
    for split in ("test", "trainval"):
        cfg = compose_run(["data=siftflow", f"data.val_split={split}"])
        node = {"_target_": cfg.data._target_, "val_split": cfg.data.val_split}
        assert comparable(row, {"data": node}) == (split == "test")
    assert row.of_task("geo").scores == {"pixel_acc": 94.3} and row.scores["geo_pixel_acc"] == 94.3
