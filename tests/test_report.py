"""`python -m fcnexp.report` from the command line."""

import csv
import os
import subprocess
import sys

import pytest
from commands import fcnexp
from made_up_runs import CHOICES, write_job, write_run

from fcnexp.reporting.writing import report


@pytest.fixture
def sweep(tmp_path):
    """Two settings, the first with two seeds; also an unfinished run and a repeated one."""
    paper = {"source": "a thesis", "row": "mine", "miou": 65.0}
    write_run(tmp_path / "s/0", miou=0.50)
    write_run(tmp_path / "s/1", miou=0.54, seed=1)
    other = CHOICES | {"model": "fcn16s"}
    write_run(tmp_path / "s/2", miou=0.61, model__skips=[16], choices=other, paper=paper)
    (write_run(tmp_path / "s/3") / "result.json").unlink()
    write_run(tmp_path / "s/4", miou=0.9)
    return tmp_path


HEADER = ["model", "seeds", "mean IU", "gain", "pixel accuracy", "mean accuracy", "f.w. IU"]
HEADER += ["training (s)"]
LINES = [
    ["fcn8s", "2", "52.0 ± 2.8", "", "90.0", "80.0", "70.0", "10"],  # 4 / sqrt(2) = 2.8
    ["fcn16s", "1", "61.0", "+9.0", "90.0", "80.0", "70.0", "10"],
]
VERSUS_PAPER = [
    "fcn16s",
    "mine (verified)",
    "90.0 / -",
    "80.0 / -",
    "61.0 / 65.0 (-4.0)",
    "70.0 / -",
]
NOT_FINISHED = "not finished: s/3"
REPEATED = "not counted, same setting and seed as an earlier run: s/4"


def test_tables_are_printed_in_80_columns(sweep, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = fcnexp("report", "s", folder=sweep, cache=sweep)
    assert done.returncode == 0, done.stderr
    printed = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert all(" ".join(" ".join(line).split()) in printed for line in LINES)
    assert "fcn16s mine 90.0/- 80.0/- 61.0/65.0 70.0/-" in printed
    assert NOT_FINISHED in printed and REPEATED in printed
    assert "wrote s/report.html, s/report.md, s/report.csv" in printed
    tables = done.stdout.partition("different images")[0]
    assert max(map(len, tables.splitlines())) <= 80


PRINTS = """
from fcnexp.cli.messages import fail_or_raise
try:
    print("line\\n" * 100_000)
except Exception as error:
    fail_or_raise(error, "report")
"""


@pytest.mark.parametrize("command", [["-m", "fcnexp.report", "s"], ["-c", PRINTS]])
def test_a_reader_of_the_output_may_stop_reading(command, sweep):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, *command]
    done = subprocess.run(command, cwd=sweep, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.returncode and not done.stderr


def test_markdown_has_everything_that_is_printed(sweep):
    done = fcnexp("report", "s", "output=out/r.md", folder=sweep, cache=sweep)
    assert done.returncode == 0, done.stderr
    assert "wrote out/r.md" in done.stdout and not (sweep / "s/report.html").exists()
    written = (sweep / "out/r.md").read_text()
    lines = [[c.strip() for c in li.split("|")[1:-1]] for li in written.splitlines() if "|" in li]
    assert [line for line in lines if line[0] != "---"][:3] == [HEADER, *LINES]
    assert lines[-1] == VERSUS_PAPER
    assert NOT_FINISHED in written and REPEATED in written


def test_folder_gets_all_three_formats(sweep):
    done = fcnexp("report", "s", "output=out", folder=sweep, cache=sweep)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (sweep / "out").iterdir()}
    assert names == {"report.html", "report.md", "report.csv"}


def test_failed_job_without_a_config_is_reported_with_its_reason(sweep):
    why = {"type": "TrainingError", "message": "loss is nan at step 3\nlower regime.lr"}
    write_job(sweep / "s/5", "failed", overrides=["seed=7"], **why)
    write_job(sweep / "s/6", "running")
    write_job(sweep / "s/1", "done")  # a finished job has both records
    done = fcnexp("report", "s", folder=sweep, cache=sweep)
    assert done.returncode == 0, done.stderr
    assert "failed: s/5: TrainingError: loss is nan at step 3 lower regime.lr" in done.stdout
    assert "not finished: s/6" in done.stdout and "52.0 ± 2.8" in done.stdout
    written = (sweep / "s/report.md").read_text()
    assert written.endswith("python -m fcnexp.sweep resume s\n```\n")


def test_sweep_with_only_failed_jobs_is_reported(tmp_path):
    write_job(tmp_path / "s/0", "failed", type="SystemExit", message="137")
    done = fcnexp("report", "s", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0 and "failed: s/0: SystemExit: 137" in done.stdout, done.stderr
    assert "SystemExit: 137" in (tmp_path / "s/report.html").read_text()


def test_report_can_be_called_with_run_folders(sweep, capsys):
    report([str(sweep / "s/0"), str(sweep / "s/2")], str(sweep), None)
    assert "fcn16s" in capsys.readouterr().out and (sweep / "report.html").is_file()
    assert not (sweep / "s/0/report.html").exists()
    assert (sweep / "report.md").read_text().startswith("# s\n")  # the common parent


def test_csv_is_not_rounded(sweep):
    done = fcnexp("report", "s", "output=r.csv", folder=sweep, cache=sweep)
    assert done.returncode == 0, done.stderr
    with (sweep / "r.csv").open() as file:
        first, second = csv.DictReader(file)
    assert float(first["miou_sd"]) == pytest.approx(0.04 / 2**0.5) and first["miou_gain"] == ""
    assert float(second["miou_gain"]) == pytest.approx(0.09) and second["miou_sd"] == ""
    assert first["miou_each"].split() == ["0.5", "0.54"] and first["seed"] == "0 1"
    assert second["paper_miou_percent"] == "65.0" and second["model"] == "fcn16s"


def test_folder_may_have_any_name(sweep):
    (sweep / "s").rename(sweep / "lr=1")
    done = fcnexp("report", "lr=1/0", "lr=1/2", folder=sweep, cache=sweep)
    assert done.returncode == 0 and "fcn16s" in done.stdout, done.stderr


def test_background_can_be_left_out(sweep):
    done = fcnexp("report", "s/0", "without=background", folder=sweep, cache=sweep)
    assert "30.0" in done.stdout and "mean IU without background" in done.stdout, done.stderr
    assert "mean IU without background" in (sweep / "s/0/report.html").read_text()
    assert "gain" not in done.stdout


MISTAKES = {
    (): "no folder given; add one, as in python -m fcnexp.report outputs/sweep",
    ("gone",): "gone: no such folder; give one that holds runs, such as outputs",
    (
        "empty",
    ): "empty: no finished run found; a finished run has config.yaml and result.json; give",
    ("s/3",): "s/3: no finished run found (1 started); a finished run has",
    (
        "s",
        "outptu=a.md",
    ): "outptu: no such option (did you mean output?); choose one of output, with",
    ("s", "output="): "output=: no value given; add one, or leave out output",
    ("s", "output=a.pdf"): "output=a.pdf: must be a folder, or a file ending in .html, .md, .csv",
    ("s", "without=sky"): "without=sky: s/0 has no such class; choose one of background, disc, r",
}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_mistake_gives_one_line(sweep, arguments):
    (sweep / "empty").mkdir()
    done = fcnexp("report", *arguments, folder=sweep, cache=sweep)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and MISTAKES[arguments] in lines[0]


def test_report_imports_neither_torch_nor_lightning(sweep):
    program = (
        "import sys; sys.argv[1:] = ['s']; from fcnexp.report import main; main();"
        "assert not {'torch', 'lightning', 'torchmetrics'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=sweep, capture_output=True, text=True)
    assert done.returncode == 0 and "fcn16s" in done.stdout, done.stderr
