"""Records of other programs' runs."""

import json

import numpy as np
import pytest
from made_up_runs import write_run

import fcnexp
from fcnexp.scoring.per_image import read_per_image

LABEL = np.array([[0, 0, 1, 255], [1, 1, 0, 255]])
GUESS = np.array([[0, 1, 1, 0], [1, 0, 0, 1]])


def recorded(*, names=("sky", "tree")) -> fcnexp.RunRecord:
    record = fcnexp.RunRecord(names)
    record.add("a", GUESS, LABEL)
    return record


def test_counts_are_those_of_the_metric():
    record = recorded()
    assert record.matrix.tolist() == [[2, 1], [1, 2]]  # by hand; void is not counted
    assert record.scores()["miou"] == pytest.approx(0.5)
    assert record.scores()["pixel_acc"] == pytest.approx(4 / 6)


def test_run_folder_has_scores_settings_and_images(tmp_path):
    record = recorded()
    record.add("b", LABEL % 255, LABEL)
    record.write(tmp_path / "run", {"net": "unet", "lr": 0.1, "seed": 3}, {"train_seconds": 7.5})
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["scores"]["pixel_acc"] == pytest.approx(10 / 12)
    assert (result["images"], result["train_seconds"]) == (2, 7.5)
    assert (result["choices"], result["typed"]) == ({"net": "unet"}, ["net", "lr"])
    images = read_per_image(tmp_path / "run")
    assert images.names == ("a", "b") and images.matrix().tolist() == [[5, 1], [1, 5]]
    assert "net: unet" in (tmp_path / "run/config.yaml").read_text()


def test_many_classes_have_void_minus_one():
    record = fcnexp.RunRecord([str(i) for i in range(300)])
    record.add("a", np.full((2, 2), 299), np.array([[299, -1], [255, 299]]))
    assert record.matrix[299, 299] == 2 and record.matrix[255, 299] == 1
    assert record.matrix.sum() == 3


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        (GUESS, LABEL[:1], r"b: prediction \(2, 4\) and label \(1, 4\) differ"),
        (GUESS + 1, LABEL, "b: .*2"),
        (GUESS + 300, LABEL, "b: prediction holds 300 to 301, not classes"),
        (GUESS * 1.0, LABEL, r"b: prediction is float64 \(2, 4\); must be integers"),
        (GUESS[None], LABEL, r"b: prediction is int64 \(1, 2, 4\); must be"),
    ],
)
def test_wrong_maps_are_refused_and_not_counted(prediction, label, message):
    record = recorded()
    with pytest.raises(fcnexp.DataError, match=message):
        record.add("b", prediction, label)
    assert record.matrix.sum() == 6


def test_a_name_occurs_once():
    with pytest.raises(fcnexp.DataError, match="a: each image needs its own name"):
        recorded().add("a", GUESS, LABEL)


@pytest.mark.parametrize(
    ("settings", "costs", "message"),
    [
        ({"net": ["a"]}, None, r"settings\['net'\]=\['a'\]: must be text"),
        ({"seed": 0.5}, None, "settings: damaged; `seed` must be a number"),
        ({"paper": "x"}, None, "`paper` is ours"),
        ({}, {"hours": 3}, "costs: no hours; choose of train_seconds"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(settings, costs, message, tmp_path):
    with pytest.raises(fcnexp.ConfigError, match=message):
        recorded().write(tmp_path / "run", settings, costs)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten_and_not_empty(tmp_path):
    recorded().write(tmp_path, {})
    with pytest.raises(fcnexp.ConfigError, match="already holds a run"):
        recorded().write(tmp_path, {})
    with pytest.raises(fcnexp.DataError, match="no image was counted"):
        fcnexp.RunRecord(["a"]).write(tmp_path / "b", {})


@pytest.mark.parametrize("names", [[], "cat", ["a", "a"]])
def test_class_names_are_a_list_of_different_names(names):
    with pytest.raises(fcnexp.DataError, match="class_names"):
        fcnexp.RunRecord(names)


def test_theirs_and_ours_in_one_report_are_named_by_what_was_chosen(tmp_path):
    recorded().write(tmp_path / "theirs", {"net": "unet", "seed": 1})
    write_run(tmp_path / "ours", miou=0.4)
    fcnexp.write_report(tmp_path, tmp_path / "r.csv")
    header, ours, theirs = (tmp_path / "r.csv").read_text().splitlines()
    settings = header[: header.index(",seeds,")].split(",")
    assert settings == ["model", "head", "regime", "net"]
    assert ours.startswith("fcn8s,fc,quick,") and ",unet," in theirs
