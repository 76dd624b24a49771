"""Published scores in published.yaml, and how a config refers to them."""

import pytest
import yaml

from fcnexp.errors import ConfigError
from fcnexp.papers.published import SCORES, _plain, _tables, comparable, published, published_table

SWEPT = ("camvid", "nyud_half", "cvpr_table5")  # whose sweeps have rows that were not published
OWN = ("FCN-4s", "FCN-2s", "with fixed upsampling")  # rows of our own, not in the paper
SEG11 = {"data": {"_target_": "fcnexp.data.splits.VocSbd", "val_split": "seg11valid"}}


@pytest.mark.parametrize("table", _tables())
def test_every_row_has_scores_in_percent_and_a_status(table):
    for row in published_table(table).values():
        own = row.row.startswith("FCN-") if table in SWEPT else row.row in OWN
        assert row.scores or own
        assert all(1 < score < 100 for score in row.scores.values())
        assert bool(row.confidence) == (row.status == "recalled") != bool(row.read_in)


@pytest.mark.parametrize(
    ("table", "row", "scores", "status"),
    [  # including the mean IUs quoted in the abstracts and the release
        ("cvpr_table2", "FCN-8s", (90.3, 75.9, 62.7, 83.2), "verified"),
        ("cvpr_table4", "FCN-16s RGB-HHA", (65.4, 46.1, 34.0, 49.5), "verified"),
        ("pami_skips", "FCN-8s", (91.2, 77.6, 65.5, 84.5), "verified"),
        ("pami_optimisation", "FCN-accum", (86.0, 66.5, 51.9, 76.5), "recalled"),
    ],
)
def test_scores_are_the_published_ones(table, row, scores, status):
    found = published({"table": table, "row": row})
    assert tuple(found.scores[key] for key in SCORES) == scores and found.status == status


def test_row_is_found_by_the_name_of_our_option():
    names = {  # by table: option, row
        "cvpr_table2": ("fcn32s_fixed", "FCN-32s-fixed"),
        "pami_optimisation": ("fcn-heavy", "FCN-heavy"),
        "pami_masking": ("none", "Reference"),
        "cvpr_extra_data": ("voc_sbd", "SBD train"),
    }
    for table, (option, name) in names.items():
        assert published({"table": table, "row": option}).row == name


def test_custom_row_gives_its_own_scores():
    row = published({"source": "Doe 2031", "row": "ours", "miou": 71, "status": "recalled"})
    assert (row.source, row.row, row.scores, row.status) == (
        *("Doe 2031", "ours", {"miou": 71.0}, "recalled"),
    )
    assert published(None) is None


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            {"table": "cvpr_tabel2", "row": "FCN-8s"},
            "paper.table=cvpr_tabel2: choose one of cvpr_t",
        ),
        (
            {"table": "cvpr_table2", "row": "FCN-1s"},
            "paper.row=FCN-1s: not a row of cvpr_table2; choose one of FCN-32s-f",
        ),
        (
            {"table": "cvpr_table2", "row": "FCN-8s", "miou": 99},
            "paper.miou: remove it; paper.table already",
        ),
        ({"source": "x", "mean_iu": 3}, "paper.mean_iu: no such key; choose one of table, source"),
        ({"source": "x", "miou": 0.6, "status": "sure"}, "paper.status=sure: choose one of verif"),
        ({"source": "x", "miou": 620}, "paper.miou=620: must be in percent"),
    ],
)
def test_wrong_row_is_refused(node, message):
    with pytest.raises(ConfigError) as refused:
        published(node)
    assert str(refused.value).startswith(message)


def test_rows_are_comparable_on_the_same_images_only():
    row = published({"table": "cvpr_table2", "row": "FCN-8s"})
    other_list = {"data": SEG11["data"] | {"val_split": "val"}}
    shapes = {"data": {"_target_": "fcnexp.data.splits.Shapes"}}
    assert [comparable(row, c) for c in (SEG11, other_list, shapes, {})] == [True, *[False] * 3]
    own = published({"source": "Doe 2031", "miou": 71})
    assert comparable(own, shapes)
    test_server = published({"table": "cvpr_table3", "row": "FCN-8s"})
    assert not comparable(test_server, SEG11)


# Our tables in the collected reference file: (section, table).
TABLES = {
    "cvpr_table1": ("cvpr2015", "table1"),
    "cvpr_table2": ("cvpr2015", "table2"),
    "cvpr_table4": ("cvpr2015", "table4"),
    "pami_skips": ("pami2016", "table_skips"),
    "pami_optimisation": ("pami2016", "table_optimisation"),
    "pami_nyud": ("pami2016", "table_nyudv2"),
    "pami_masking": ("pami2016", "table_masking"),
    "pami_context": ("pami2016", "table_context_59"),
    "cvpr_table5": ("cvpr2015", "table5"),
    "pami_siftflow": ("pami2016", "table_siftflow"),
}
NAMES = {"pixel_acc": "pixel_acc", "mean_acc": "mean_acc", "miou": "mean_iu", "fw_iou": "fw_iu"}
NAMES["geo_pixel_acc"] = "geom_acc"
ROW_NAMES = {
    **{"Gupta_2014": "Gupta et al.", "FCN-8s_staged": "FCN-8s", "Liu_2011": "Liu et al."},
    **{"Tighe_2010": "Tighe et al. 2010", "Tighe_2013_1": "Tighe et al. 1"},
    **{"Tighe_2013_2": "Tighe et al. 2", "Pinheiro_2014": "Pinheiro et al."},
    **{f"Farabet_{number}": f"Farabet et al. {number}" for number in (1, 2)},
}


@pytest.mark.real_data
@pytest.mark.parametrize("table", TABLES)
def test_every_score_equals_the_collected_one(shared_data, table):
    collected = yaml.safe_load((shared_data.parent / "reference/PAPER.yaml").read_text())
    section, key = TABLES[table]
    theirs = collected[section][key]
    rows = theirs["rows"]
    ours = {_plain(row.row): row for row in published_table(table).values() if row.scores}
    assert len(ours) == len(rows)
    for name, figures in rows.items():
        row = ours[_plain(ROW_NAMES.get(name, name))]
        expected = {key: figures.get(their_key) for key, their_key in NAMES.items()}
        assert row.scores == {key: value for key, value in expected.items() if value is not None}
        assert row.status == figures.get("status", theirs.get("status")), name
        confidence = figures.get("confidence", theirs.get("confidence"))
        assert row.confidence == (confidence if row.status == "recalled" else "")


@pytest.mark.real_data
@pytest.mark.parametrize("classes", [59, 33])
def test_scores_of_the_preprint_equal_the_collected_ones(shared_data, classes):
    collected = yaml.safe_load((shared_data.parent / "reference/PAPER.yaml").read_text())
    theirs = dict(collected["cvpr2015"]["appendix_pascal_context"][f"rows_{classes}"])
    shared = {key: theirs.pop(key) for key in ("status", "confidence") if key in theirs}
    ours = published_table("arxiv_context" + "_33" * (classes == 33))
    assert ours.keys() == theirs.keys()
    for name, figures in theirs.items():
        row, facts = ours[name], shared | figures
        assert (row.scores["miou"], row.status, row.classes) == (
            *(figures["mean_iu"], facts["status"], classes),
        )
        assert row.confidence == (facts["confidence"] if row.status == "recalled" else "")
        others = [figures[key] for key in ("pixel_acc", "mean_acc", "fw_iu") if key in figures]
        if row.status == "verified":  # then the others are recalled, and stand in the note
            assert row.note.startswith("{}, {} and {} for the other scores".format(*others))
        else:
            assert [v for k, v in row.scores.items() if k != "miou"] == others


@pytest.mark.real_data
def test_scores_of_single_rows_equal_the_collected_ones(shared_data):
    collected = yaml.safe_load((shared_data.parent / "reference/PAPER.yaml").read_text())
    test3 = {n: r.scores["miou"] for n, r in published_table("cvpr_table3").items()}
    rows3 = collected["cvpr2015"]["table3"]["rows"]
    assert test3 == {name: row["voc2011_test"] for name, row in rows3.items()}
    decon = collected["deconvnet"]["voc2012_test_mean_iu"]
    for name, row in published_table("deconvnet").items():
        assert row.scores["miou"] == decon[name if name != "FCN-8s" else "FCN-8s_reference"]
    extra = collected["cvpr2015"]["text"]["extra_data"]["from_to"]
    assert [r.scores["miou"] for r in published_table("cvpr_extra_data").values()] == extra
    assert published({"table": "release", "row": "FCN-AlexNet"}).scores == {
        "miou": collected["release"]["seg11valid_mean_iu"]["FCN-AlexNet"]
    }
    crops = collected["d2l_fcn_resnet18"]["reported"]["test_acc"]
    assert published({"table": "d2l", "row": "FCN-ResNet18"}).scores == {"pixel_acc": crops}
    test = collected["pami2016"]["table_voc_test"]["rows"]["FCN-8s"]["voc2012_test"]
    assert published({"table": "pami_voc_test", "row": "FCN-8s"}).scores == {"miou": test}
