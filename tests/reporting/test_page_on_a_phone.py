"""The page on a narrow screen, and its colours on a dark one."""

import re
import shutil
import subprocess

import pytest
from test_page import write_full

from fcnexp.reporting.page import TEMPLATES, page
from fcnexp.reporting.summary import read_summary

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
NARROWEST = 500  # pixels; a headless window cannot be narrower


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, as WCAG defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    low, high = sorted(map(luminance, (first, second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [":root", '[data-theme="dark"]'])
def test_a_swatch_is_seen_whatever_its_colour(theme):
    """A black or navy class has an outline that stands out from a dark card, by WCAG's 3:1."""
    css = (TEMPLATES / "report.css").read_text()
    values = dict(re.findall(r"--([\w-]+): (#\w{6})", css[css.index(theme) :].partition("}")[0]))
    outline = re.search(r"\.swatch {[^}]*border: 1px solid var\(--(\w+)\)", css)[1]
    assert contrast(values[outline], values["card"]) > 3


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="no chromium; apt-get install chromium")
@pytest.mark.parametrize(("width", "scrolls"), [(NARROWEST, True), (4000, False)])
def test_a_table_wider_than_the_screen_says_that_it_scrolls(width, scrolls, tmp_path):
    for number in range(3):
        write_full(tmp_path / f"runs/{number}", number=number, seed=0)
    path = tmp_path / "report.html"
    path.write_text(page(read_summary([tmp_path / "runs"], None)))
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"]
    typed = [f"--window-size={width},800", f"--user-data-dir={tmp_path}/profile", "--dump-dom"]
    done = subprocess.run(
        [*command, *typed, path.as_uri()], capture_output=True, text=True, timeout=120
    )
    tag = re.search(r'<div class="(scroll[^"]*)"[^>]*aria-label="Scores of each row"', done.stdout)
    assert tag, done.stderr
    assert tag[1].split() == (["scroll", "wide", "right"] if scrolls else ["scroll"])
