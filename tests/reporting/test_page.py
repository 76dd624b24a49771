"""The HTML page, parsed without a browser."""

import json
import re
from html.parser import HTMLParser

import pytest
from made_up_runs import write_confusion, write_job, write_metrics, write_pictures, write_run

from fcnexp.reporting.page import page
from fcnexp.reporting.summary import read_summary

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'\"&"


class Read(HTMLParser):
    """Parsed page: tags with attributes, text, and scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.scripts = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        self.text += data
        if self.tags and self.tags[-1][0] == "script":
            self.scripts[-1] += data

    def sections(self):
        return [attrs["id"] for tag, attrs in self.tags if tag == "section"]


def write_full(folder, *, number, seed, names=("background", "disc", "ring"), **changes):
    """Write a run with everything that a page shows."""
    paper = {"table": "cvpr_table2", "row": ("FCN-32s", "FCN-16s", "FCN-8s")[number % 3]}
    run = write_run(
        folder, model__skips=[number], seed=seed, miou=0.4 + number**2 / 100, paper=paper, **changes
    )
    record = json.loads((run / "result.json").read_text())
    record["class_iou"] = dict.fromkeys(names, 0.5)
    record |= {"images_per_second": 10.0, "peak_memory": 2**30, "parameters": 1234567}
    (run / "result.json").write_text(json.dumps(record))
    write_metrics(run, [0.1, 0.2 + number / 100, 0.4])
    write_confusion(run, names, [[9, 1, 0], [2, 8, 0], [0, 0, 5]])
    write_pictures(run, ["val_0", "val_1"])
    return run


def read(*folders):
    return Read(page(read_summary(folders, None)))


FULL = ["scores", "curves", "classes", "confusion", "pictures", "cost", "differences", "again"]


def test_page_has_every_section_for_which_runs_have_data(tmp_path):
    for number in range(3):
        for seed in range(2):
            write_full(tmp_path / f"{number}{seed}", number=number, seed=seed)
    write_job(tmp_path / "x", "failed", overrides=["seed=9"], type="SystemExit", message="137")
    found = read(tmp_path)
    assert found.sections() == [*FULL[:-1], "failed", FULL[-1]]
    assert "order as published (CVPR 2015, table 2): yes" in found.text
    assert "SystemExit: 137" in found.text and "1,234,567" in found.text and "1,024" in found.text


def test_sections_without_data_are_left_out(tmp_path):
    run = write_run(tmp_path / "0")
    record = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(
        json.dumps({"status": "done", "scores": {"miou": record["scores"]["miou"]}})
    )
    found = read(tmp_path)
    assert found.sections() == ["scores", "pictures", "again"]
    assert "None of these runs has pictures" in found.text and "50.0" in found.text


def test_text_from_runs_is_escaped_everywhere(tmp_path):
    names = ("background", EVIL, "ring")
    for number in range(2):
        run = write_full(
            tmp_path / f"{number}",
            number=number,
            seed=EVIL,
            names=names,
            choices={"model": f"{EVIL}{number}"},
            head__dropout=EVIL + str(number),
        )
        (run / "pictures/panels/val_0").rename(run / "pictures/panels" / EVIL.replace("/", ""))
    why = {"type": EVIL, "message": EVIL, "traceback": EVIL}
    write_job(tmp_path / "x", "failed", overrides=[EVIL], **why)
    clean = [tag for tag, _ in read(write_clean(tmp_path / "clean")).tags]
    found = read(tmp_path / "0", tmp_path / "1", tmp_path / "x")
    tags = [tag for tag, _ in found.tags]
    assert tags.count("script") == clean.count("script") == 2
    assert not any("onerror" in attrs for _, attrs in found.tags)
    assert found.text.count(EVIL) > 10
    data = json.loads(found.scripts[0])
    assert data["confusions"][0]["names"][1] == EVIL and data["rows"][0].startswith(EVIL)


def write_clean(folder):
    write_full(folder, number=0, seed=0)
    return folder


def test_page_needs_no_network(tmp_path):
    text = page(read_summary([write_clean(tmp_path / "0")], None))
    assert not re.findall(r"https?://|//[a-z]+\.|@import|url\(", text)
    sources = [a["src"] for _, a in Read(text).tags if "src" in a]
    assert sources and all(source.startswith("data:image/") for source in sources)


def test_page_of_18_runs_is_small(tmp_path):
    for number in range(6):
        for seed in range(3):
            run = write_full(tmp_path / f"{number}{seed}", number=number, seed=seed)
            write_metrics(run, [0.5] * 2000)
    text = page(read_summary([tmp_path], None))
    assert len(text) < 1_000_000
    images_per_panel = 2 + 6  # image, ground truth, and one prediction per row
    assert "val_1" in text and text.count('<img data-of="') == 2 * images_per_panel


@pytest.mark.parametrize("miou", [0.0, None, 1.0])
def test_rows_without_a_score_are_drawn(tmp_path, miou):
    write_run(tmp_path / "0", miou=miou, paper={"table": "cvpr_table2", "row": "FCN-8s"})
    write_metrics(tmp_path / "0", [0.0])
    assert "FCN-8s" in read(tmp_path).text


def test_recalled_score_is_marked_and_has_no_colour(tmp_path):
    voc = {"_target_": "fcnexp.data.splits.VocSbd", "val_split": "seg11valid"}
    for number, row in enumerate(("FCN-32s", "FCN-32s fixed")):
        paper = {"table": "pami_skips", "row": row}
        write_run(tmp_path / f"{number}", data=voc, paper=paper, model__skips=[number])
    classes = [a.get("class", "").split() for tag, a in read(tmp_path).tags if tag == "td"]
    coloured = [c for c in classes if "reached" in c or "missed" in c]
    assert len(coloured) == 4  # the four scores of the verified row
    badges = [a["class"] for _, a in read(tmp_path).tags if "badge" in a.get("class", "")]
    assert badges[:2] == [
        "badge verified",
        "badge recalled",
    ]  # followed by the rows that were not run
