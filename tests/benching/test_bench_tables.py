"""Arithmetic and formatting of measurements."""

import json

import pytest
import torch

from fcnexp.benching.measure import difference, faster, interleaved
from fcnexp.benching.record import Record, facts
from fcnexp.benching.tables import Row, Table, number

FAST, SLOW = Row("fast", [1.0, 2.0, 1.0], {"GiB": 0.5}), Row("slow", [2.0, 6.0, 2.2])


def test_candidates_are_interleaved_after_an_untimed_round():
    done = []
    runs = {name: lambda name=name: done.append(name) for name in "ab"}
    seconds = interleaved(runs, 2, torch.device("cpu"))
    assert done == list("ab" * 3)
    assert {name: len(each) for name, each in seconds.items()} == {"a": 2, "b": 2}
    assert all(second >= 0 for each in seconds.values() for second in each)


def test_speed_is_the_median_of_the_ratios_in_each_round():
    assert faster(FAST.seconds, SLOW.seconds) == pytest.approx(2.2)  # of 2, 3, 2.2
    assert faster([1.0, 5.0, 2.0], [2.0, 5.5, 5.0]) == 2  # of 2, 1.1, 2.5; medians give 5 / 2
    assert faster([1.0, 9.0, 1.0], [2.0, 18.0, 2.0]) == 2  # the machine was slow for a round


def test_difference_is_relative_to_the_largest_score():
    assert difference(torch.tensor([1.0, -3.5]), torch.tensor([1.5, -4.0])) == 0.125
    assert difference(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 4.0])) == 0.5


def test_markdown_has_a_line_per_row_with_all_cells():
    table = Table("Title", [FAST, SLOW], ("slow", "absent"), per=4, notes=["A note."])
    title, _, head, rule, *lines = table.markdown().splitlines()
    assert title == "**Title**"
    assert head == "|  | median | least to most | images/s | times as fast as slow | GiB |"
    assert rule.count("---:") == 5
    assert lines[0] == "| fast | 1.00 s | 1.00 to 2.00 | 4.00 | 2.20 | 0.500 |"
    assert lines[1] == "| slow | 2.20 s | 2.00 to 6.00 | 1.82 | 1.00 | - |"
    assert lines[-1] == "A note."


def test_speed_of_a_different_net_is_not_compared():
    rows = [SLOW, Row("other", [1.0] * 3, compared=False)]
    assert Table("", rows, ("slow",)).cells()[2][-1] == "-"
    assert Table("", rows, ("slow",)).plain()["rows"][1]["times_as_fast_as"] == {}


def test_short_times_are_in_milliseconds_and_untimed_rows_have_dashes():
    rows = [Row("short", [0.0123, 0.02, 0.0111]), Row("untimed", facts={"GiB": 1})]
    _, short, untimed = Table("", rows, ("short",), per=1).cells()
    assert short == ["short", "12.3 ms", "11.1 to 20.0", "81.3", "1.00", "-"]
    assert untimed == ["untimed", "-", "-", "-", "-", "1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (3, "3"), (12345, "12,345"), (1234.5, "1,234"), (99.96, "100.0"), (5.0, "5.00")]
    + [(0.0123, "0.0123"), (1.2e-6, "1.2e-06")],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_records_hold_every_sample_and_the_machine(tmp_path):
    known = facts(command="bench", settings={"rounds": 3}, device=torch.device("cpu"), date="today")
    record = Record(tmp_path, known)
    record.parts["infer"] = [Table("Title", [FAST, SLOW], ("slow",))]
    record.seconds["infer"] = 4.5
    record.write()
    stored = json.loads((tmp_path / "bench.json").read_text())
    assert stored["parts"]["infer"]["seconds"] == 4.5
    row = stored["parts"]["infer"]["tables"][0]["rows"][0]
    assert row["seconds"] == FAST.seconds and row["median"] == 1
    assert row["times_as_fast_as"] == {"slow": pytest.approx(2.2)}
    assert stored["machine"]["cores"] >= 1 and stored["machine"]["memory_gib"] > 0.1
    assert stored["versions"]["torch"] == torch.__version__.partition("+")[0]
    page = (tmp_path / "BENCH.md").read_text()
    assert page.startswith("today, on ") and "## infer" in page and "| fast | 1.00 s |" in page
