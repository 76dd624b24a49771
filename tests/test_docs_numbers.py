"""docs/measured.yaml agrees with the pages, and `make docs-numbers` compares what it should."""

import os
import re
import subprocess
import sys
from functools import partial

import docs_numbers
import measured
import pytest
import yaml
from commands import call
from documents import PAGES, ROOT

RUNS = measured.load()
PASSAGES = [
    pytest.param(passage, id=f"{run.name}:{number}")
    for run in RUNS
    for number, passage in enumerate(run.passages)
]
TEXTS = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_commands_are_those_of_the_page(run):
    assert run.commands and run.passages
    for lines in run.commands:
        assert lines in TEXTS[run.page]
    assert all(old in "\n".join(run.commands) for old in run.replace)


@pytest.mark.parametrize("passage", PASSAGES)
def test_passage_stands_once_on_its_page_and_in_the_table(passage):
    counts = {name: text.count(passage.printed()) for name, text in TEXTS.items()}
    assert {name: count for name, count in counts.items() if count} == {passage.page: 1}
    assert (ROOT / measured.TABLE).read_text().count(passage.text) == 1


@pytest.mark.parametrize("passage", PASSAGES)
def test_passage_says_how_each_figure_is_read_and_compared(passage):
    assert len(passage.labels()) == len(passage.said()) >= 1
    assert len(passage.find) in (0, len(passage.said()))
    for said in passage.said():
        value = measured.amount(said, passage.unit)
        assert measured.spelled(value, said, passage.unit) == said
        assert passage.is_close(value, said)


def test_a_time_in_minutes_and_seconds_is_named_on_one_page():
    pages: dict[str, set[str]] = {}
    for name, text in TEXTS.items():
        for time in re.findall(r"\d+ min \d+ s", text):
            pages.setdefault(time, set()).add(name)
    assert not {time: names for time, names in pages.items() if len(names) > 1}


@pytest.mark.parametrize(
    ("figure", "unit", "value"),
    [
        ("2 min 40 s", "", 160),
        ("10 min", "", 600),
        ("371 ms", "", 0.371),
        ("5.5 GB", "", 5.5e9),
        ("80.1 %", "", 0.801),
        ("96.8", "%", 0.968),
        ("24.9", "", 24.9),
    ],
)
def test_amounts_are_in_base_units(figure, unit, value):
    assert measured.amount(figure, unit) == pytest.approx(value)


def test_a_value_is_spelled_like_the_figure_that_it_replaces():
    assert measured.spelled(95.4, "2 min 40 s") == "1 min 35 s"
    assert measured.spelled(120.2, "10 min") == "2 min"
    assert measured.spelled(58.6, "2 min 40 s") == "59 s"
    assert measured.spelled(0.8034, "80.1 %") == "80.3 %"
    assert measured.spelled(0.9, "96.8", "%") == "90.0"
    assert measured.spelled(1.5e9, "1673 MB") == "1500 MB"


PAGE = "It took 2.0 s and reached 80.0 %, in one line."
SCORE = {"text": "reached {80.0 %}", "read": "out/*.json", "find": "scores.miou", "within": 2}


@pytest.fixture
def replay(tmp_path, monkeypatch):
    """Replay a table of fake commands on a page of its own; returns what was printed."""
    monkeypatch.setattr(docs_numbers, "pace", lambda: 1)  # the real one takes seconds
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)

    def run(runs, *arguments):
        for entry in runs.values():
            entry.setdefault("page", "README.md")
        if not (root / "README.md").exists():
            (root / "README.md").write_text(PAGE)
            (root / measured.TABLE).write_text(yaml.safe_dump(runs, width=1000, sort_keys=False))
        return call(partial(docs_numbers.main, root), *arguments, folder=tmp_path, cache=tmp_path)

    run.root = root
    return run


def scored(miou, **more):
    line = f"""mkdir out; echo '{{"scores": {{"miou": {miou}}}}}' > out/result.json"""
    return {"run": [line], "figures": [SCORE], **more}


def line_of(done, name):
    (line,) = (line for line in done.stdout.splitlines() if line.startswith(f"{name} "))
    return re.split(r"  +", line)


def test_a_true_figure_exits_0(replay):
    done = replay({"a": scored(0.815)})
    assert done.returncode == 0, done.stdout
    assert line_of(done, "a") == ["a", "README.md", "scores.miou", "80.0 %", "81.5 %", "2", "ok"]
    assert "1 ok, 0 off, 0 skipped" in done.stdout


def test_a_figure_that_is_off_exits_1_and_is_named(replay):
    done = replay({"a": scored(0.7), "b": scored(0.81)})
    assert done.returncode == 1
    assert line_of(done, "a")[3:] == ["80.0 %", "70.0 %", "2", "off"]
    assert line_of(done, "b")[-1] == "ok"
    assert "found, for README.md: reached {70.0 %}" in done.stdout


@pytest.mark.parametrize(("seconds", "code"), [("0.1", 1), ("1.7", 0)])
def test_times_may_be_off_by_30_percent(replay, seconds, code):
    figures = [{"text": "It took {2.0 s}", "read": "time"}]
    slow = {"run": [f"sleep {seconds}"], "before": ["sleep 0.2"], "figures": figures}
    done = replay({"slow": slow})
    assert done.returncode == code, done.stdout
    assert line_of(done, "slow")[5] == "30 %"


@pytest.mark.parametrize(("pace", "code"), [(1.5, 0), (3, 1), (4, 1)])
def test_times_are_compared_at_the_pace_of_the_machine(replay, monkeypatch, pace, code):
    """The figure of 2 s was taken at pace 3; at half of it, 1 s is the same time."""
    monkeypatch.setattr(docs_numbers, "pace", lambda: pace)
    figures = [{"text": "It took {2.0 s}", "read": "time"}]
    done = replay({"a": {"run": ["sleep 1"], "figures": figures, "pace": 3}, "b": scored(0.8)})
    assert done.returncode == code, done.stdout
    assert line_of(done, "a")[5] == f"{pace / 3:.2f}"
    assert line_of(done, "b")[5:] == ["2", "ok"]  # a score depends on no pace


def test_pace_is_the_time_of_work():
    assert 0.05 < docs_numbers.pace() < 120


def test_write_stores_the_pace_with_the_time(replay, monkeypatch):
    monkeypatch.setattr(docs_numbers, "pace", lambda: 2.5)
    figures = [{"text": "It took {2.0 s}", "read": "time"}]
    for _ in range(2):  # set, and set again
        replay({"a": {"run": ["sleep 0.5"], "figures": figures}}, "--write")
        table = yaml.safe_load((replay.root / measured.TABLE).read_text())
        assert table["a"]["pace"] == 2.5
        assert table["a"]["figures"][0]["text"] == "It took {0.5 s}"


def test_a_failing_command_is_off_and_the_rest_still_runs(replay):
    failing = {"run": ["echo what happened; false", "echo never"], "figures": [SCORE]}
    done = replay({"failing": failing, "good": scored(0.8)})
    assert done.returncode == 1
    assert line_of(done, "failing")[3:] == ["80.0 %", "-", "2", "off: exit code 1"]
    assert "what happened\n" in done.stdout and "never" not in done.stdout
    assert line_of(done, "good")[-1] == "ok"


def test_missing_data_is_skipped_with_the_reason_also_in_runs_that_follow(replay):
    follower = {**scored(0.8), "follows": "needy"}
    done = replay({"needy": scored(0.1, needs=["../shared/voc"]), "follower": follower})
    assert done.returncode == 0
    assert line_of(done, "needy")[-1] == "skipped: no ../shared/voc"
    assert line_of(done, "follower")[-1] == "skipped: no ../shared/voc"


def test_a_figure_that_cannot_be_read_is_off(replay):
    done = replay({"a": {"run": ["true"], "figures": [SCORE]}})
    assert done.returncode == 1
    assert line_of(done, "a")[-1] == "off: 0 files out/*.json"


def test_a_follower_runs_in_the_same_folder_and_others_in_new_ones(replay):
    seen = {"text": "reached {80.0 %}", "read": "output", "find": r"mark: (.*)", "within": 1}
    first = scored(0.8, after=["echo 80 % > mark"])
    second = {"run": ['echo "mark: $(cat mark)"'], "figures": [seen]}
    done = replay({"first": first, "second": {**second, "follows": "first"}, "third": second})
    assert line_of(done, "second")[-1] == "ok"
    assert line_of(done, "third")[-1].startswith("off")
    done = replay({}, "second")  # brings `first` with it
    assert done.returncode == 0 and line_of(done, "first") and "third" not in done.stdout


def test_parts_of_commands_are_replaced(replay):
    replaced = scored(0.1, replace={"0.1": "0.81"})
    assert line_of(replay({"a": replaced}), "a")[-1] == "ok"


def test_memory_is_the_peak_of_the_largest_process(tmp_path):
    lines = ["python -c '\"x\" * 190_000_000'", "true"]
    program = f"import docs_numbers as d; print(d.shell(d.Path(), {lines!r}, d.Path()).memory)"
    where = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}  # a process without this one's memory
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=where, capture_output=True, check=True
    )
    assert 190e6 < int(done.stdout) < 230e6


def test_write_corrects_the_page_and_the_table(replay):
    slow = {"run": ["sleep 0.5"], "figures": [{"text": "It took {2.0 s}", "read": "time"}]}
    done = replay({"a": scored(0.7), "slow": slow}, "--write")
    assert done.returncode == 1
    page = (replay.root / "README.md").read_text()
    assert page == "It took 0.5 s and reached 70.0 %, in one line."
    done = replay({}, "--write")
    assert done.returncode == 0 and (replay.root / "README.md").read_text() == page


def test_an_unknown_name_is_refused(replay):
    done = replay({"a": scored(0.8)}, "b")
    assert done.returncode == "error: b: no such run; choose from a" and not done.stdout


def test_make_uses_this_environment_and_installs_nothing(replay, monkeypatch):
    monkeypatch.setenv("MAKEFLAGS", "-- ARGS=made")  # as in `make docs-numbers ARGS=made`
    monkeypatch.setenv("ARGS", "made")
    figures = [{"text": "reached {80.0 %}", "read": "output", "find": "(80.*)", "within": 0}]
    says = "@echo $(ARGS); test -x $(BIN)/python -a '$(ARGS)' != made"
    makefile = f"setup:\n\tfalse\nsay: setup\n\t{says}\n"
    (replay.root / "Makefile").write_text(makefile)
    done = replay({"made": {"run": ['make say ARGS="80 %"', "make say"], "figures": figures}})
    assert done.returncode == 0, done.stdout
