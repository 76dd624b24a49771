"""Reports of runs with several tasks, and means over the classes in the ground truth."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_up_runs import SCORES, write_run, write_scored
from scored_images import NAMES, per_image_of, random_maps, random_record

from fcnexp.errors import DataError
from fcnexp.papers.published import ABSENT, published
from fcnexp.reporting.records import read_run
from fcnexp.reporting.summary import paper_tables, read_summary
from fcnexp.reporting.targets import not_run, score_pair
from fcnexp.scoring.scores import class_iu

SIFT = {"_target_": "fcnexp.data.siftflow.SiftFlow", "val_split": "test"}
GEO = {"pixel_acc": 0.94, "mean_acc": 0.9, "miou": 0.8, "fw_iou": 0.85}


def add(run: Path, **changes) -> Path:
    """Add entries to result.json."""
    record = json.loads((run / "result.json").read_text()) | changes
    (run / "result.json").write_text(json.dumps(record))
    return run


def with_geo(folder: Path, **changes) -> Path:
    run = write_run(folder, data=SIFT, **changes)
    part = {"scores": GEO, "class_iou": {"sky": 0.9}, "class_acc": {"sky": 0.95}}
    accuracies = {"background": 0.9, "disc": 0.5, "ring": None, "bar": None}  # bar: predicted only
    return add(run, tasks={"geo": part}, class_acc=accuracies)


@pytest.fixture
def sift(tmp_path) -> Path:
    with_geo(tmp_path / "s/0", paper={"table": "cvpr_table5", "row": "FCN-16s"})
    return tmp_path / "s"


def test_the_mean_iu_beside_the_papers_is_over_the_classes_in_the_truth(sift):
    summary = read_summary([sift], None)
    assert summary.without == ABSENT and "present classes" in summary.title
    assert summary.rows[0].scores["miou"] == pytest.approx((0.9 + 0.4) / 2)
    assert read_summary([sift / "0"], "background").rows[0].scores["miou"] == pytest.approx(0.3)


def test_scores_of_a_further_task_are_compared_with_the_papers(sift):
    summary = read_summary([sift], None)
    (row,) = summary.rows
    assert row.scores["geo_pixel_acc"] == 0.94
    pair = score_pair(row, "geo_pixel_acc")
    assert (pair.paper, pair.reached) == (94.3, True) and pair.ours == pytest.approx(94)
    (lines,) = paper_tables(summary.rows).values()
    assert lines[0][-1] == "geo pixel accuracy" and "94.0 / 94.3 (-0.3)" in lines[1]
    assert [line[-1] for line in lines if "Tighe et al. 2010" in line[1]] == ["- / 90.8"]
    (part,) = summary.further
    assert part.task == "geo" and part.rows[0].scores["miou"] == GEO["miou"]
    assert score_pair(part.rows[0], "pixel_acc").paper == 94.3
    assert [other.row for other in not_run(part.rows)] == ["Tighe et al. 2010"]
    assert score_pair(part.rows[0], "miou").paper is None  # 39.5 is the semantic one


def test_rows_with_one_task_stand_beside_those_with_two(sift):
    write_run(sift / "1", model__skips=[])
    summary = read_summary([sift], None)
    assert [row.scores["geo_miou"] for row in summary.rows] == [0.8, None]
    assert len(summary.further[0].rows) == 1


def test_intervals_leave_out_the_same_classes(tmp_path):
    labels, predictions = random_maps(0, 12)
    labels = [np.where(label == 3, 0, label).astype(np.uint8) for label in labels]
    record = per_image_of(labels, predictions)
    run = write_scored(tmp_path / "s/0", record)
    iou = class_iu(record.margins().sum(0))
    assert iou[3] == 0 and json.loads((run / "result.json").read_text())["class_iou"]["bar"] == 0
    add(run, class_acc={name: None if name == "bar" else 0.5 for name in NAMES})
    whole, present = (read_summary([tmp_path / "s"], without) for without in (None, ABSENT))
    assert present.rows[0].scores["miou"] == pytest.approx(iou[:3].mean())
    # Without the fourth class, which no label shows, each draw is a mean of three, not of four.
    ends = [summary.evidence.spreads[0].images for summary in (whole, present)]
    assert list(ends[1]) == pytest.approx([4 / 3 * end for end in ends[0]])
    assert ends[1].low < present.rows[0].scores["miou"] < ends[1].high


def test_evidence_of_a_further_task_comes_from_its_own_images(tmp_path):
    run = write_scored(tmp_path / "s/0", random_record(0))
    write_scored(tmp_path / "made", other := random_record(1, right=0.9))
    (tmp_path / "made").rename(run / "geo")
    (run / "geo/config.yaml").unlink()
    scores = json.loads((run / "geo/result.json").read_text())["scores"]
    add(run, tasks={"geo": {"scores": scores, "class_iou": {}}})
    summary = read_summary([tmp_path / "s"], None)
    found = summary.further[0].evidence
    assert found.records[0][0].names == other.names
    assert np.array_equal(found.records[0][0].matrix(), other.matrix())
    assert found.spreads[0].images.low > summary.evidence.spreads[0].images.high


@pytest.mark.parametrize(
    "tasks",
    [[], {"geo": None}, {"geo": {"scores": {}}}, {"../up": {"scores": SCORES}},
     {"geo": {"scores": SCORES | {"miou": 2}}}, {"geo": {"scores": 3}}],
)  # fmt: skip
def test_damaged_parts_are_refused(tmp_path, tasks):
    run = add(write_run(tmp_path / "run"), tasks=tasks)
    with pytest.raises(DataError, match=r"result\.json: damaged"):
        read_run(run)


def test_a_row_without_scores_of_the_task_has_none():
    assert published({"table": "cvpr_table5", "row": "Liu et al.", "task": "geo"}).scores == {}
    assert published({"table": "pami_siftflow", "row": "FCN-8s", "task": "geo"}).scores == {
        "pixel_acc": 94.6
    }
