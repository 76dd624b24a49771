"""Cost of rows, from made-up records."""

import csv
import io
import json

import pytest
from made_up_runs import write_run

from fcnexp.reporting.comparison import compare, cost_cells, costs, short_number
from fcnexp.reporting.page import page
from fcnexp.reporting.records import read_runs
from fcnexp.reporting.summary import notes, paper_tables, read_summary
from fcnexp.reporting.writing import markdown, unrounded


def write(folder, *, seed=0, paper=None, lr=0.1, **facts):
    run = write_run(folder, seed=seed, paper=paper, regime__lr=lr, seconds=facts.pop("s", None))
    record = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(record | facts))


def rows_of(folder):
    return compare(read_runs([folder]).finished).rows


def test_costs_are_means_over_the_seeds_that_have_them(tmp_path):
    write(tmp_path / "0", peak_memory=2**20, parameters=134_000_000, s=20)
    write(tmp_path / "1", peak_memory=3 * 2**20, seed=1)
    write(tmp_path / "2", lr=1)
    assert costs(rows_of(tmp_path)) == {
        "training (s)": [20, None],
        "peak memory (MiB)": [2, None],
        "parameters": [134_000_000, None],
    }
    assert cost_cells(rows_of(tmp_path)) == [
        ["row", "training (s)", "peak memory (MiB)", "parameters"],
        ["0.1", "20", "2", "134,000,000"],
        ["1", "-", "-", "-"],
    ]


def test_time_per_image_is_compared_with_the_papers(tmp_path):
    write(tmp_path / "0", paper={"table": "cvpr_table3", "row": "FCN-8s"}, ms_per_image=12.34)
    write(tmp_path / "1", lr=1)
    cells = cost_cells(rows_of(tmp_path))
    assert cells[0][-1] == "published time per image"
    assert [line[-1] for line in cells[1:]] == ["about 175 ms", "-"]


def test_times_and_notes_of_rows_that_were_not_run_are_in_every_output(tmp_path):
    write(tmp_path / "0", paper={"table": "cvpr_table3", "row": "FCN-8s"}, ms_per_image=12.34)
    found = read_summary([tmp_path], None)
    ((header, ours, *others),) = paper_tables(found.rows).values()
    assert header[-1] == "time per image" and ours[-1] == "12.3 ms / about 175 ms"
    assert [(line[1], line[-1]) for line in others] == [
        ("R-CNN (verified)", "- / -"),
        ("SDS (verified)", "- / about 50 s"),
    ]
    note = "VOC 2011 test server; 51.6 on VOC 2012 test"
    assert f"published row: {note} (not run: SDS)" in notes(found)
    lines = list(csv.DictReader(io.StringIO(unrounded(found))))
    sds = {key: value for key, value in lines[-1].items() if value}
    assert sds["paper_row"] == "SDS" and sds["paper_miou_percent"] == "52.6"
    assert sds["paper_time"] == "about 50 s" and sds["paper_note"] == note
    assert len(lines) == 3 and not any(key in sds for key in ("seeds", "miou", "gain_low"))
    for text in (markdown(found), page(found)):
        assert "about 50 s" in text and "51.6 on VOC 2012 test" in text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.01234, "0.0123"), (99.96, "100"), (1234.5, "1,234")]
)
def test_numbers_have_three_digits(value, text):
    assert short_number(value) == text
