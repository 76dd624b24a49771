"""`python -m fcnexp.report`, as a user types it."""

import csv
import subprocess
import sys

import pytest
from commands import fcnexp
from made_up_runs import CHOICES, write_run


@pytest.fixture
def sweep(tmp_path):
    """Two settings, the first with two seeds; one run more that is not finished."""
    paper = {"source": "PAMI skips", "miou": 65.0}
    write_run(tmp_path / "s/0", miou=0.50)
    write_run(tmp_path / "s/1", miou=0.54, seed=1)
    other = CHOICES | {"model": "fcn16s"}
    write_run(tmp_path / "s/2", miou=0.61, model__skips=[16], choices=other, paper=paper)
    (write_run(tmp_path / "s/3") / "result.json").unlink()
    write_run(tmp_path / "s/4", miou=0.9)
    return tmp_path


HEADER = ["model", "seeds", "mean IU", "gain", "pixel accuracy", "mean accuracy", "f.w. IU"]
HEADER += ["training (s)", "paper"]
LINES = [
    ["fcn8s", "2", "52.0 ± 2.8", "", "90.0", "80.0", "70.0", "10", "-"],  # 4 / sqrt(2) = 2.8
    ["fcn16s", "1", "61.0", "+9.0", "90.0", "80.0", "70.0", "10", "65.0"],
]


def test_table_is_printed_and_written(sweep, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    done = fcnexp("report", "s", "output=out/r.md", folder=sweep, cache=sweep)
    assert done.returncode == 0, done.stderr
    printed = [[c.strip() for c in li.split("│")[1:-1]] for li in done.stdout.splitlines()]
    assert [line for line in printed if line] == LINES
    assert "not finished: s/3" in done.stdout and "written out/r.md" in done.stdout
    assert "not counted, since its setting and seed were there before: s/4" in done.stdout
    written = (sweep / "out/r.md").read_text().splitlines()
    assert written[1] == "|" + "---|" * 9
    assert [[c.strip() for c in li.split("|")[1:-1]] for li in written[::2]] == [HEADER, LINES[0]]


def test_csv_is_not_rounded(sweep):
    done = fcnexp("report", "s", "output=r.csv", folder=sweep, cache=sweep)
    assert done.returncode == 0, done.stderr
    with (sweep / "r.csv").open() as file:
        first, second = csv.DictReader(file)
    assert float(first["miou_sd"]) == pytest.approx(0.04 / 2**0.5) and first["miou_gain"] == ""
    assert float(second["miou_gain"]) == pytest.approx(0.09) and second["miou_sd"] == ""
    assert second["paper_percent"] == "65.0" and second["model"] == "fcn16s"


def test_folder_may_have_any_name(sweep):
    (sweep / "s").rename(sweep / "lr=1")
    done = fcnexp("report", "lr=1/0", "lr=1/2", folder=sweep, cache=sweep)
    assert done.returncode == 0 and "fcn16s" in done.stdout, done.stderr


def test_background_can_be_left_out(sweep):
    done = fcnexp("report", "s/0", "without=background", folder=sweep, cache=sweep)
    assert "30.0" in done.stdout and "mean IU without background" in done.stdout, done.stderr
    assert "gain" not in done.stdout


MISTAKES = {
    (): "no folder given; say which, as in python -m fcnexp.report outputs/sweep",
    ("gone",): "gone: no such folder; give one that holds runs, say outputs",
    ("empty",): "empty: no finished run below; one is a folder with config.yaml and result.json",
    ("s/3",): "s/3: no finished run below; 1 begun, none finished",
    (
        "s",
        "outptu=a.md",
    ): "outptu: no such option (did you mean output?); there are",
    ("s", "output="): "output=: a value is missing",
    ("s", "output=a.pdf"): "output=a.pdf: it ends in .md or .csv, say report.md",
    ("s", "without=sky"): "without=sky: s/0 has no such class; it has background, disc, ring, bar",
}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_mistake_gives_one_line(sweep, arguments):
    (sweep / "empty").mkdir()
    done = fcnexp("report", *arguments, folder=sweep, cache=sweep)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and MISTAKES[arguments] in lines[0]


def test_it_needs_neither_torch_nor_lightning(sweep):
    program = (
        "import sys; sys.argv[1:] = ['s']; from fcnexp.report import main; main();"
        "assert not {'torch', 'lightning', 'torchmetrics'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=sweep, capture_output=True, text=True)
    assert done.returncode == 0 and "fcn16s" in done.stdout, done.stderr
