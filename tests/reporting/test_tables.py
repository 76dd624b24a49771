"""Tables on the terminal show text of others as it is."""

from types import SimpleNamespace

import pytest

from fcnexp.reporting import tables
from fcnexp.sweep import ledger, summary

NAMES = ("[/x]", "[red]")  # to rich: the end of nothing, which it refuses, and a colour


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")


def cells(text: str) -> list[str]:
    """The first cell of each line of tables."""
    rows = [line.replace("┃", "│").split("│") for line in text.splitlines()]
    return [row[1].strip() for row in rows if len(row) > 1]


def test_classes_of_a_result_are_named_as_they_are(capsys):
    scores = dict.fromkeys(tables.NAMES, 0.5)
    shares = dict.fromkeys(NAMES, 0.25)
    tables.print_result({"scores": scores, "class_iou": shares, "class_acc": shares})
    assert {*NAMES} < set(cells(capsys.readouterr().out))


def test_classes_of_a_balance_are_named_as_they_are(capsys):
    tables.print_balance(NAMES, [0.5, 0.5], [1, 1])
    assert cells(capsys.readouterr().out)[-2:] == [*NAMES]


def test_classes_of_a_check_are_named_as_they_are(capsys):
    facts = {"classes": {name: {"share": 0.5, "images": 1} for name in NAMES}}
    half = {"split": "[/val]", "images": 1, "troubles": [], "sizes": [], "void_share": 0}
    tables.print_check([SimpleNamespace(**half, facts=lambda _: facts)], NAMES)
    found = cells(capsys.readouterr().out)
    assert "[/val]" in found and found[-2:] == [*NAMES]


def test_rows_and_titles_of_a_comparison_are_as_they_are(capsys):
    tables.print_comparison([["[/head]", "mean IU"], ["[red]", "1.0"]], "runs of [/here]")
    out = capsys.readouterr().out
    assert all(text in out for text in ("[/head]", "[red]", "runs of [/here]"))


def test_jobs_and_their_errors_are_named_as_they_are(tmp_path, capsys):
    job = tmp_path / "[red]"
    job.mkdir()
    record = ledger.begin(job, "0" * 10, 0, [])
    ledger.end(job, record, {"type": "DataError", "message": "[/x]: gone", "traceback": None})
    summary.print_jobs([job], ["failed"], tmp_path)
    out = capsys.readouterr().out
    assert "[red]" in cells(out) and "DataError: [/x]: gone" in out
