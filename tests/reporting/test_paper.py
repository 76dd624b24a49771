"""The published figures that the project carries, and how a config names them."""

import pytest

from fcnexp.errors import ConfigError
from fcnexp.reporting.paper import SCORES, _tables, comparable, published, published_table

SEG11 = {"data": {"_target_": "fcnexp.data.splits.VocSbd", "val_split": "seg11valid"}}


@pytest.mark.parametrize("table", _tables())
def test_every_row_has_figures_in_percent_and_a_status(table):
    for row in published_table(table).values():
        none = ("FCN-4s", "FCN-2s", "with fixed upsampling")  # rows that only we have
        assert row.scores or row.row in none
        assert all(1 < score < 100 for score in row.scores.values())
        assert bool(row.confidence) == (row.status == "recalled") != bool(row.read_in)


@pytest.mark.parametrize(
    ("table", "row", "figures", "status"),
    [  # the mean IUs that the abstracts and the released weights are known by, among others
        ("cvpr_table2", "FCN-8s", (90.3, 75.9, 62.7, 83.2), "verified"),
        ("cvpr_table4", "FCN-16s RGB-HHA", (65.4, 46.1, 34.0, 49.5), "verified"),
        ("pami_skips", "FCN-8s", (91.2, 77.6, 65.5, 84.5), "verified"),
        ("pami_optimisation", "FCN-accum", (86.0, 66.5, 51.9, 76.5), "recalled"),
    ],
)
def test_figures_are_the_published_ones(table, row, figures, status):
    found = published({"table": table, "row": row})
    assert tuple(found.scores[key] for key in SCORES) == figures and found.status == status


def test_row_may_be_named_as_our_options_are():
    names = {  # by table: option, row
        "cvpr_table2": ("fcn32s_fixed", "FCN-32s-fixed"),
        "pami_optimisation": ("fcn-heavy", "FCN-heavy"),
        "pami_masking": ("none", "Reference"),
        "cvpr_extra_data": ("voc_sbd", "SBD train"),
    }
    for table, (option, name) in names.items():
        assert published({"table": table, "row": option}).row == name


def test_row_of_your_own_gives_its_figures_itself():
    row = published({"source": "Doe 2031", "row": "ours", "miou": 71, "status": "recalled"})
    assert (row.source, row.row, row.scores, row.status) == (
        *("Doe 2031", "ours", {"miou": 71.0}, "recalled"),
    )
    assert published(None) is None


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"table": "cvpr_tabel2", "row": "FCN-8s"}, "paper.table=cvpr_tabel2: there are cvpr_t"),
        ({"table": "cvpr_table2", "row": "FCN-1s"}, "paper.row=FCN-1s: cvpr_table2 has FCN-32s-f"),
        ({"table": "cvpr_table2", "row": "FCN-8s", "miou": 99}, "paper.miou: with paper.table"),
        ({"source": "x", "mean_iu": 3}, "paper.mean_iu: no such key; there are table, source"),
        ({"source": "x", "miou": 0.6, "status": "sure"}, "paper.status=sure: allowed are verif"),
        ({"source": "x", "miou": 620}, "paper.miou=620: in percent"),
    ],
)
def test_wrong_row_is_refused(node, message):
    with pytest.raises(ConfigError) as refused:
        published(node)
    assert str(refused.value).startswith(message)


def test_only_the_same_images_are_comparable():
    row = published({"table": "cvpr_table2", "row": "FCN-8s"})
    other_list = {"data": SEG11["data"] | {"val_split": "val"}}
    shapes = {"data": {"_target_": "fcnexp.data.splits.Shapes"}}
    assert [comparable(row, c) for c in (SEG11, other_list, shapes, {})] == [True, *[False] * 3]
    own = published({"source": "Doe 2031", "miou": 71})
    assert comparable(own, shapes)
    test_server = published({"table": "cvpr_table3", "row": "FCN-8s"})
    assert not comparable(test_server, SEG11)
