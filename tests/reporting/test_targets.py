"""Ours beside the paper's, from made-up rows."""

import pytest
from made_up_runs import write_run

from fcnexp.reporting.comparison import compare
from fcnexp.reporting.records import read_runs
from fcnexp.reporting.summary import notes, paper_tables, read_summary
from fcnexp.reporting.targets import beside, orders, why_not_comparable

VOC = {"_target_": "fcnexp.data.splits.VocSbd", "val_split": "seg11valid"}
SHAPES = {"_target_": "fcnexp.data.splits.Shapes"}


def rows_of(folder, *settings, data=VOC, table="cvpr_table2", without=None):
    """Rows by (published row, mean IUs of its seeds in percent)."""
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
def test_figure_is_reached_from_a_point_below_what_was_printed(tmp_path, miou, reached):
    (row,) = rows_of(tmp_path, ("FCN-8s", miou))
    ours, paper, difference, has = beside(row, "miou")
    assert (paper, has) == (62.7, reached) and ours == pytest.approx(miou)
    assert difference == pytest.approx(miou - 62.7)


def test_missing_figure_is_not_compared(tmp_path):
    (row,) = rows_of(tmp_path, ("FCN-AlexNet", 50.0), table="release")  # mean IU alone
    assert beside(row, "pixel_acc") == (pytest.approx(90.0), None, None, None)
    assert why_not_comparable(row, "pixel_acc") == "" and beside(row, "miou").reached


def test_recalled_figure_is_never_reached_nor_missed(tmp_path):
    rows = rows_of(tmp_path, ("FCN-32s fixed", 40), ("FCN-pool5", 60), table="pami_skips")
    assert [beside(row, "miou").reached for row in rows] == [None, None]
    (lines,) = paper_tables(rows).values()
    assert [line[1] for line in lines[1:3]] == ["FCN-32s fixed (recalled)", "FCN-pool5 (recalled)"]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (SHAPES, "generated scenes: the order may be compared, the figures not"),
        (VOC | {"val_split": "val"}, "other images than the paper's: the order may"),
        ({"_target_": "fcnexp.data.own.Folder"}, "other images than the paper's: the order may"),
        (None, "other images than the paper's: the order may"),
    ],
)
def test_figures_on_other_data_are_not_held_against_the_papers(tmp_path, data, what):
    (row,) = rows_of(tmp_path, ("FCN-8s", 90), data=data)
    assert beside(row, "miou") == (pytest.approx(90.0), 62.7, None, None)
    assert why_not_comparable(row, "miou").startswith(what)
    (told,) = notes(read_summary([tmp_path], None))
    assert told.startswith(what)


def test_mean_iu_over_other_classes_is_not_compared(tmp_path):
    (row,) = rows_of(tmp_path, ("FCN-8s", 90), without="background")
    told = "mean IU: the paper's is of all classes, ours without background"
    assert why_not_comparable(row, "miou") == told and beside(row, "miou").reached is None
    assert beside(row, "pixel_acc").reached  # 90.0 of 90.3


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


def test_difference_below_the_spread_is_told(tmp_path):
    rows = rows_of(tmp_path, ("FCN-32s", 40, 44), ("FCN-16s", 43, 43), ("FCN-8s", 41, 43.6))
    within = ", less than the seeds' spread of"
    assert lines(rows) == [
        "order as published (CVPR 2015, table 2): no: "
        f"FCN-8s (42.3) is not above FCN-16s (43.0){within} 1.8; "
        f"FCN-16s (43.0) is above FCN-32s (42.0) by 1.0{within} 2.8"
    ]


def test_equal_rows_are_not_above_one_another(tmp_path):
    rows = rows_of(tmp_path, ("FCN-32s", 40), ("FCN-16s", 40))
    (line,) = lines(rows)
    assert "no: FCN-16s (40.0) is not above FCN-32s (40.0); a row has one seed only" in line


def test_order_is_not_judged_where_a_row_is_there_twice_or_means_differ(tmp_path):
    rows = rows_of(tmp_path / "a", ("FCN-8s", 1), ("FCN-8s", 2))
    told = "order as published (CVPR 2015, table 2): not judged: FCN-8s stands in several rows"
    assert lines(rows) == [told]
    masked = rows_of(tmp_path / "b", ("FG-only", 1), ("Shape", 2), table="pami_masking")
    assert "not judged: mean IU: the paper's is without background, ours of all" in lines(masked)[0]


def test_recalled_rows_of_an_order_are_named_and_a_lone_row_has_none(tmp_path):
    rows = rows_of(
        tmp_path, ("FCN-pool5", 50, 50), ("FCN-32s", 60, 60), table="pami_skips", data=SHAPES
    )
    assert lines(rows) == [
        "order as published (PAMI 2016, table of skips): yes: recalled: FCN-pool5"
    ]
    assert orders(rows[:1]) == []


def test_row_that_the_paper_does_not_have_is_neither_verified_nor_compared(tmp_path):
    rows = rows_of(tmp_path, ("FCN-4s", 80))
    (lines,) = paper_tables(rows).values()
    assert lines[1][1:] == ["FCN-4s (no figures)", "90.0 / -", "80.0 / -", "80.0 / -", "70.0 / -"]
    assert orders(rows) == []


def test_published_rows_that_are_not_ours_stand_beside(tmp_path):
    rows = rows_of(tmp_path, ("FCN-8s", 60), table="cvpr_table3")
    (lines,) = paper_tables(rows).values()
    assert [line[1] for line in lines[1:]] == [
        f"{n} (verified)" for n in ("FCN-8s", "R-CNN", "SDS")
    ]
    assert lines[2] == ["not among these", "R-CNN (verified)", "-", "-", "- / 47.9", "-"]


def test_mean_iu_leaves_out_what_the_papers_leaves_out(tmp_path):
    names = ("Reference", "Shape")
    for number, name in enumerate(names):
        paper = {"table": "pami_masking", "row": name}
        write_run(tmp_path / str(number), data=VOC, paper=paper, model__skips=[number])
    summary = read_summary([tmp_path], None)
    assert summary.without == "background" and summary.rows[0].scores["miou"] == pytest.approx(0.3)
    write_run(tmp_path / "2", data=VOC, model__skips=[4])
    assert read_summary([tmp_path], None).without is None
