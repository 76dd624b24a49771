"""Names and places of the tasks of a net."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fcnexp.scoring.tasks import is_name, tasks_of

NAMES = ("cow", "sky", "sea", "flat", "steep")
SEM, GEO = tasks_of(NAMES, {"sem": 3, "geo": 2})


def test_stacked_scores_and_classes_are_divided_in_order():
    assert (SEM.classes, GEO.classes) == (("cow", "sky", "sea"), ("flat", "steep"))
    for scores in (np.arange(5.0)[:, None, None], np.arange(5.0)[None, :, None, None]):
        assert SEM.of_scores(scores).ravel().tolist() == [0, 1, 2]
        assert GEO.of_scores(scores).ravel().tolist() == [3, 4]


def test_a_single_task_has_all_scores_and_the_usual_names():
    (only,) = tasks_of(NAMES, None)
    scores = np.zeros((2, 5, 4, 4))
    assert only.of_scores(scores) is scores and only.classes == NAMES
    assert (only.key("val/miou"), only.folder(Path("run"))) == ("val/miou", Path("run"))


def test_what_belongs_to_a_further_task_bears_its_name():
    assert SEM.key("val/miou") == "val/miou" and GEO.key("val/miou") == "val/geo_miou"
    assert GEO.key("prediction") == "geo_prediction"
    assert SEM.folder(Path("run")) == Path("run") and GEO.folder(Path("run")) == Path("run/geo")
    labelled = SimpleNamespace(label="first", further={"geo": "second"})
    assert (SEM.label_of(labelled), GEO.label_of(labelled)) == ("first", "second")


@pytest.mark.parametrize(
    ("text", "allowed"), [("geo", True), ("a b", False), ("../x", False), ("pictures", False)]
)
def test_names_are_those_of_new_folders(text, allowed):
    assert is_name(text) == allowed
