"""docs/PYTHON.md, typed from top to bottom in one session; what it prints is what it says."""

import contextlib
import csv
import io
import re
import shlex

import numpy as np
import pytest
from commands import fcnexp
from documents import ROOT, blocks

PAGE = ROOT / "docs" / "PYTHON.md"
SHOWN = re.compile(r"^print\(.*\)  # (.+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Names that the page's blocks leave behind, and the folder in which they were typed."""
    folder = tmp_path_factory.mktemp("session")
    names = {"image": np.random.default_rng(0).integers(0, 256, (97, 131, 3), np.uint8)}
    typed = 0
    for block in blocks(PAGE):
        assert block.mark == "run", f"line {block.line}"
        if not block.language:
            (words,) = (shlex.split(line) for line in block.text.splitlines())
            done = fcnexp(words[2].removeprefix("fcnexp."), *words[3:], folder=folder, cache=folder)
            assert done.returncode == 0, done.stderr
            continue
        out = io.StringIO()
        with (
            contextlib.chdir(folder),
            contextlib.redirect_stdout(out),
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setenv("FCNEXP_CACHE", str(folder))
            exec(compile(block.text, f"PYTHON.md:{block.line}", "exec"), names)
        if expected := SHOWN.findall(block.text):
            assert out.getvalue().splitlines() == expected
            typed += len(expected)
    assert typed >= 7
    return names, folder


def test_labels_are_those_of_predict(session):
    from PIL import Image

    names, folder = session
    (folder / "photos").mkdir()
    Image.fromarray(names["image"]).save(folder / "photos/a.png")
    words = ["checkpoint=outputs/first/checkpoints/last.ckpt", "input=photos", "output=labels"]
    done = fcnexp("predict", *words, folder=folder, cache=folder)
    assert done.returncode == 0, done.stderr
    ours = names["net"].label(names["image"])
    assert np.array_equal(ours, np.array(Image.open(folder / "labels/a.png")))
    scores = names["net"].scores(names["image"])
    assert scores.dtype == np.float32 and np.array_equal(scores.argmax(0), ours)


def test_report_has_a_row_for_each_method_and_tests_their_difference(session):
    _, folder = session
    with (folder / "runs/report.csv").open() as file:
        mine, theirs = csv.DictReader(file)
    assert (mine["method"], mine["seed"], theirs["method"]) == ("mine", "0 1", "theirs")
    # Of two equally frequent classes, a fraction w of wrong pixels leaves an IU of (1-w)/(1+w).
    assert float(mine["miou"]) == pytest.approx(0.9 / 1.1, abs=0.01)
    assert float(theirs["miou"]) == pytest.approx(0.7 / 1.3, abs=0.01)
    gain = float(theirs["miou"]) - float(mine["miou"])
    assert float(theirs["miou_gain"]) == pytest.approx(gain)
    assert float(theirs["gain_low"]) < gain < float(theirs["gain_high"]) < 0


def test_training_moved_the_nets_weights(session):
    import torch

    names, _ = session
    import fcnexp as package

    start = package.network(names["options"]).state_dict()
    moved = [n for n, w in names["fcn"].state_dict().items() if not torch.equal(w, start[n])]
    assert len(moved) > len(start) / 2
