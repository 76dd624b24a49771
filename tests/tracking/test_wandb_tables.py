"""W&B tables of a finished run."""

import numpy as np
import pytest

from fcnexp.tracking.tables import confusion_picture, of_truth, paper_rows

RESULT = {"scores": {"pixel_acc": 0.9, "mean_acc": None, "miou": 0.65, "fw_iou": 0.8}}
PAPER = {"table": "cvpr_table2", "row": "FCN-8s"}
VOC = {"_target_": "fcnexp.data.splits.VocSbd", "val_split": "seg11valid"}


def test_scores_on_the_same_data_are_compared_with_the_paper():
    rows = {row[0]: row for row in paper_rows(RESULT, {"paper": PAPER, "data": VOC})}
    score, ours, theirs, difference, row, source, status, remark = rows["miou"]
    assert (ours, theirs, row, source) == (65, 62.7, "FCN-8s", "CVPR 2015, table 2")
    assert difference == pytest.approx(2.3) and status == "verified" and remark == ""
    assert rows["mean_acc"][1] is None and rows["mean_acc"][3] is None


def test_scores_on_different_data_are_not_subtracted():
    shapes = {"_target_": "fcnexp.data.splits.Shapes"}
    rows = paper_rows(RESULT, {"paper": PAPER, "data": shapes})
    assert {row[3] for row in rows} == {None}
    assert {row[7] for row in rows} == {"different data from the paper's"}
    assert paper_rows(RESULT, {"paper": None, "data": VOC}) == []


def test_confusions_are_fractions_of_the_true_pixels():
    fractions = of_truth(np.array([[3, 1, 0], [0, 0, 0], [2, 0, 2]]))
    assert fractions.tolist() == [[0.75, 0.25, 0], [0, 0, 0], [0.5, 0, 0.5]]


@pytest.mark.parametrize("classes", [8, 21, 60])
def test_picture_is_bounded_and_shows_the_diagonal(classes):
    names = [f"class {i}" for i in range(classes)]
    full, empty = (confusion_picture(s, names) for s in (np.eye(classes), 0 * np.eye(classes)))
    assert full.dtype == np.uint8 and max(full.shape) <= 1200
    changed = (full != empty).any(-1)
    rows, columns = np.nonzero(changed)
    assert len(rows) > classes * 4  # at least 2x2 pixels per cell
    assert np.corrcoef(rows, columns)[0, 1] > 0.95
