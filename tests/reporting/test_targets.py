"""Comparison with the paper, from made-up rows."""

import pytest
from made_up_runs import write_run

from fcnexp.reporting.comparison import compare
from fcnexp.reporting.records import read_runs
from fcnexp.reporting.summary import notes, paper_tables, read_summary
from fcnexp.reporting.targets import orders, score_pair, why_not_comparable

VOC = {"_target_": "fcnexp.data.splits.VocSbd", "val_split": "seg11valid"}
SHAPES = {"_target_": "fcnexp.data.splits.Shapes"}


def rows_of(folder, *settings, data=VOC, table="cvpr_table2", without=None):
    """Rows from settings of (published row, mean IU in percent of each seed)."""
    for number, (row, *mious) in enumerate(settings):
        for seed, miou in enumerate(mious):
            write_run(
                folder / f"{number}/{seed}",
                **{"data": data, "paper": {"table": table, "row": row}, "model__skips": [number]},
                miou=miou / 100,
                seed=seed,
            )
    return compare(read_runs([folder]).finished, without).rows


@pytest.mark.parametrize(
    ("miou", "reached"), [(64, True), (61.7, True), (61.66, True), (61.6, False)]
)
def test_published_score_is_reached_within_one_point(tmp_path, miou, reached):
    (row,) = rows_of(tmp_path, ("FCN-8s", miou))
    ours, paper, difference, found = score_pair(row, "miou")
    assert (paper, found) == (62.7, reached) and ours == pytest.approx(miou)
    assert difference == pytest.approx(miou - 62.7)


def test_missing_published_score_is_not_compared(tmp_path):
    (row,) = rows_of(tmp_path, ("FCN-AlexNet", 50.0), table="release")  # mean IU alone
    assert score_pair(row, "pixel_acc") == (pytest.approx(90.0), None, None, None)
    assert why_not_comparable(row, "pixel_acc") == "" and score_pair(row, "miou").reached


def test_recalled_score_is_neither_reached_nor_missed(tmp_path):
    rows = rows_of(tmp_path, ("FCN-32s fixed", 40), ("FCN-pool5", 60), table="pami_skips")
    assert [score_pair(row, "miou").reached for row in rows] == [None, None]
    (lines,) = paper_tables(rows).values()
    assert [line[1] for line in lines[1:3]] == ["FCN-32s fixed (recalled)", "FCN-pool5 (recalled)"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (SHAPES, "generated scenes: compare the order of rows, not the scores"),
        (VOC | {"val_split": "val"}, "different images from the paper's: compare"),
        ({"_target_": "fcnexp.data.own.Folder"}, "different images from the paper's: compare"),
        (None, "different images from the paper's: compare"),
    ],
)
def test_scores_on_different_data_are_not_compared(tmp_path, data, reason):
    (row,) = rows_of(tmp_path, ("FCN-8s", 90), data=data)
    assert score_pair(row, "miou") == (pytest.approx(90.0), 62.7, None, None)
    assert why_not_comparable(row, "miou").startswith(reason)
    (note,) = notes(read_summary([tmp_path], None))
    assert note.startswith(reason)


def test_scores_of_another_task_of_the_same_images_are_not_compared(tmp_path):
    data = {"_target_": "fcnexp.data.pascalcontext.PascalContext", "val_split": "val"}
    for classes, reason in ((59, ""), (33, "the paper's task has 59 classes, ours 33")):
        asked = {"data": data | {"classes": classes}, "table": "pami_context"}
        (row,) = rows_of(tmp_path / str(classes), ("FCN-8s", 40), **asked)
        assert why_not_comparable(row, "miou") == reason


def test_mean_iu_over_different_classes_is_not_compared(tmp_path):
    (row,) = rows_of(tmp_path, ("FCN-8s", 90), without="background")
    reason = "mean IU: the paper's is over all classes, ours is without background"
    assert why_not_comparable(row, "miou") == reason and score_pair(row, "miou").reached is None
    assert score_pair(row, "pixel_acc").reached  # 90.0, published 90.3


def lines(rows):
    return [str(order) for order in orders(rows)]


def test_order_that_holds(tmp_path):
    rows = rows_of(
        tmp_path,
        *(("FCN-16s", 64, 66), ("FCN-8s", 79, 80), ("FCN-32s", 40, 41), ("FCN-32s-fixed", 9, 10)),
    )
    assert lines(rows) == ["order as published (CVPR 2015, table 2): yes"]
    assert orders(rows)[0].rows == ["FCN-32s-fixed", "FCN-32s", "FCN-16s", "FCN-8s"]


def test_order_that_does_not_hold_names_the_pair(tmp_path):
    rows = rows_of(tmp_path, ("FCN-32s", 40, 41), ("FCN-16s", 64, 65), ("FCN-8s", 60, 61))
    assert lines(rows) == [
        "order as published (CVPR 2015, table 2): no: FCN-8s (60.5) is not above FCN-16s (64.5)"
    ]


def test_difference_below_the_spread_is_noted(tmp_path):
    rows = rows_of(tmp_path, ("FCN-32s", 40, 44), ("FCN-16s", 43, 43), ("FCN-8s", 41, 43.6))
    within = ", less than the spread over seeds of"
    assert lines(rows) == [
        "order as published (CVPR 2015, table 2): no: "
        f"FCN-8s (42.3) is not above FCN-16s (43.0){within} 1.8; "
        f"FCN-16s (43.0) is above FCN-32s (42.0) by 1.0{within} 2.8"
    ]


def test_equal_rows_are_not_in_order(tmp_path):
    rows = rows_of(tmp_path, ("FCN-32s", 40), ("FCN-16s", 40))
    (line,) = lines(rows)
    assert (
        "no: FCN-16s (40.0) is not above FCN-32s (40.0); at least one row has a single seed" in line
    )


def test_order_is_not_judged_if_a_row_is_repeated_or_means_differ(tmp_path):
    rows = rows_of(tmp_path / "a", ("FCN-8s", 1), ("FCN-8s", 2))
    line = "order as published (CVPR 2015, table 2): not judged: FCN-8s appears in several rows"
    assert lines(rows) == [line]
    masked = rows_of(tmp_path / "b", ("FG-only", 1), ("Shape", 2), table="pami_masking")
    assert (
        "not judged: mean IU: the paper's is without background, ours is over all"
        in lines(masked)[0]
    )


def test_recalled_rows_are_named_and_a_single_row_has_no_order(tmp_path):
    rows = rows_of(
        tmp_path, ("FCN-pool5", 50, 50), ("FCN-32s", 60, 60), table="pami_skips", data=SHAPES
    )
    assert lines(rows) == [
        "order as published (PAMI 2016, table of skips): yes: recalled: FCN-pool5"
    ]
    assert orders(rows[:1]) == []


def test_row_missing_from_the_paper_is_neither_verified_nor_compared(tmp_path):
    rows = rows_of(tmp_path, ("FCN-4s", 80))
    (lines,) = paper_tables(rows).values()
    assert lines[1][1:] == ["FCN-4s (no scores)", "90.0 / -", "80.0 / -", "80.0 / -", "70.0 / -"]
    assert orders(rows) == []


def test_published_rows_that_were_not_run_are_listed(tmp_path):
    rows = rows_of(tmp_path, ("FCN-8s", 60), table="cvpr_table3")
    (lines,) = paper_tables(rows).values()
    assert [line[1] for line in lines[1:]] == [
        f"{n} (verified)" for n in ("FCN-8s", "R-CNN", "SDS")
    ]
    assert lines[2] == ["not run", "R-CNN (verified)", "-", "-", "- / 47.9", "-", "- / -"]


def test_mean_iu_leaves_out_the_same_class_as_the_paper(tmp_path):
    names = ("Reference", "Shape")
    for number, name in enumerate(names):
        paper = {"table": "pami_masking", "row": name}
        write_run(tmp_path / str(number), data=VOC, paper=paper, model__skips=[number])
    summary = read_summary([tmp_path], None)
    assert summary.without == "background" and summary.rows[0].scores["miou"] == pytest.approx(0.3)
    write_run(tmp_path / "2", data=VOC, model__skips=[4])
    assert read_summary([tmp_path], None).without is None
