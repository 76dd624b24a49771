"""Terminal tables show names literally, without interpreting rich markup."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from fcnexp.explaining import map_table
from fcnexp.reporting import tables
from fcnexp.sweep import ledger, summary

NAMES = ("[/x]", "[red]")  # rich markup: an unmatched closing tag, an error, and a colour


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")


def cells(text: str) -> list[str]:
    """First word of each table line, with or without borders."""
    rows = [line.strip("┃│ ").split() for line in text.splitlines()]
    return [row[0] for row in rows if row]


def test_result_shows_class_names_literally(capsys):
    scores = dict.fromkeys(tables.NAMES, 0.5)
    by_class = dict.fromkeys(NAMES, 0.25)
    result = {"scores": scores, "class_iou": by_class, "class_acc": by_class}
    same = {"release": scores | {"counted_as": {}}}
    tables.print_result(result | {"conventions": same})
    assert {*NAMES} < set(cells(capsys.readouterr().out))


def test_classes_without_ground_truth_are_named_beside_the_score(capsys):
    scores, accuracy = dict.fromkeys(tables.NAMES, 1.0), {"cat": 1.0, "dog": None}
    result = {"scores": scores, "class_iou": accuracy, "class_acc": accuracy}
    same = {"conventions": {"release": scores | {"counted_as": {}}}}
    tables.print_result(result | same)
    assert "NO PIXEL of dog in the ground truth: the scores only" in capsys.readouterr().out
    tables.print_result(result | same | {"class_acc": {"cat": 1.0, "dog": 0.0}})
    assert "NO PIXEL" not in capsys.readouterr().out


def test_balance_shows_class_names_literally(capsys):
    tables.print_balance(NAMES, [0.5, 0.5], [1, 1])
    assert cells(capsys.readouterr().out)[-2:] == [*NAMES]


def test_check_shows_class_names_literally(capsys):
    facts = {"classes": {name: {"share": 0.5, "images": 1} for name in NAMES}}
    split = {"split": "[/val]", "images": 1, "troubles": [], "sizes": [], "void_share": 0}
    tables.print_check([SimpleNamespace(**split, facts=lambda _: facts)], NAMES)
    found = cells(capsys.readouterr().out)
    assert "[/val]" in found and found[-2:] == [*NAMES]


def test_comparison_shows_rows_and_title_literally(capsys):
    tables.print_comparison([["[/head]", "mean IU"], ["[red]", "1.0"]], "runs of [/here]")
    out = capsys.readouterr().out
    assert all(text in out for text in ("[/head]", "[red]", "runs of [/here]"))


def test_jobs_and_errors_are_shown_literally(tmp_path, capsys):
    job = tmp_path / "[red]"
    job.mkdir()
    record = ledger.begin(job, "0" * 10, 0, [])
    ledger.end(job, record, {"type": "DataError", "message": "[/x]: gone", "traceback": None})
    summary.print_jobs([job], ["failed"], tmp_path)
    out = capsys.readouterr().out
    assert "[red]" in cells(out) and "DataError: [/x]: gone" in out


def test_settings_that_do_not_fit_are_stacked():
    head = ["model", "lr", "seeds", "mean IU"]
    assert tables.stacked([head, ["fcn8s", "0.1", "3", "50.0"]]) == [
        ["row", "seeds", "mean IU"],
        ["model=fcn8s\nlr=0.1", "3", "50.0"],
    ]
    assert tables.stacked([["seeds"], ["3"]]) == [["seeds"], ["3"]]


def test_comparison_in_a_file_is_as_wide_as_needed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    tables.print_comparison(
        [["a long setting", "seeds"], ["a value of thirty characters..", "3"]], ""
    )
    assert any(
        "a value of thirty characters.." in line for line in capsys.readouterr().out.split("\n")
    )


@pytest.mark.parametrize(("width", "column"), [(80, "made by"), (150, "parameters")])
def test_maps_fit_the_terminal(width, column, monkeypatch):
    shown = io.StringIO()
    terminal = Console(file=shown, width=width, highlight=False)
    monkeypatch.setattr(map_table, "_console", lambda: terminal)
    grid = SimpleNamespace(step=32, origin=-91.5)
    one = SimpleNamespace(
        name="score_pool4c",
        kind="crop",
        sources=("score_pool4",),
        window=None,
        offset=5,
        shape=(21, 44, 44),
        grid=grid,
        receptive_field=404,
        parameters=10_773,
        multiply_adds=2e7,
    )
    map_table.print_maps([one])
    table = shown.getvalue().split("stride: pixels")[0]
    assert column in table and "score_pool4c" in table and "-91.5" in table
    assert max(len(line) for line in table.splitlines()) <= width
