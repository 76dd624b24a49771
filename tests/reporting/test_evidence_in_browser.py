"""Objects and images of the HTML page in headless Chromium; see test_page_in_browser."""

import pytest
from made_up_runs import CHOICES, write_scored
from test_evidence import record
from test_page_in_browser import choose, chromium, one, pytestmark, show, texts  # noqa: F401

from fcnexp.reporting.evidence_tables import size_cells, worst_cells
from fcnexp.reporting.page import page
from fcnexp.reporting.summary import read_summary

SCHEMES = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """URL of a report with two rows of two seeds, and its summary."""
    folder = tmp_path_factory.mktemp("runs")
    for number, right in enumerate((0.4, 0.7)):
        for seed in range(2):
            choices = CHOICES | {"model": f"m{number}"}
            scored = record(right, 10 * number + seed)
            run = folder / f"{number}{seed}"
            write_scored(run, scored, worst=30, seed=seed, model__skips=[number], choices=choices)
    summary = read_summary([folder], None)
    (folder / "report.html").write_text(page(summary))
    return (folder / "report.html").as_uri(), summary


@pytest.fixture
def browser(chromium, report):  # noqa: F811
    show(chromium, report[0])
    yield chromium
    assert chromium.get_log("browser") == []


def cells(browser, table):
    return [
        [cell.text for cell in row.find_elements("css selector", "th, td")]
        for row in browser.find_elements("css selector", f"{table} tbody tr")
    ]


@pytest.mark.parametrize("share", ["missed", "found", "well"])
def test_table_of_sizes_is_that_of_the_text(browser, report, share):
    summary = report[1]
    choose(browser, "#object-share", share)
    assert cells(browser, "#object-table") == size_cells(summary.rows, summary.evidence, share)[1:]


def test_table_of_sizes_can_show_one_class(browser, report):
    choose(browser, "#object-class", "2")
    records = report[1].evidence.records
    number = sum((each.tables["objects"][1] == 2).sum() for each in records[0][:1])
    assert sum(int(line[1]) for line in cells(browser, "#object-table")) == number


def test_worst_images_are_listed_with_pictures(browser, report):
    lines = cells(browser, "#image-table")
    expected = worst_cells(report[1].rows, report[1].evidence)[1:]
    assert [line[0] for line in lines] == [line[0] for line in expected]
    for line, cells_ in zip(lines, expected, strict=True):  # rounded to 0.01 before
        assert [float(c) for c in line[1:3]] == pytest.approx([*map(float, cells_[1:])], abs=0.11)
    pictures = browser.find_elements("css selector", "#image-table tbody:nth-of-type(1) .stack")
    assert len(pictures) == 6 and all(p.size["height"] > 20 for p in pictures)
    assert texts(browser, "#image-table thead th")[1] == "m0"


def test_images_are_sorted_by_a_click_and_listed_by_change(browser):
    choose(browser, "#image-list", "all")
    one(browser, "#image-table thead th:nth-child(4) button").click()
    changes = [float(line[3]) for line in cells(browser, "#image-table")]
    assert len(changes) == 30 and changes == sorted(changes)
    choose(browser, "#image-list", "change")
    largest = [abs(float(line[3])) for line in cells(browser, "#image-table")]
    assert len(largest) == 8 and largest == sorted(map(abs, changes), reverse=True)[:8]


def test_scatter_has_a_point_for_each_image_and_names_it(browser):
    from selenium.webdriver.common.action_chains import ActionChains

    points = browser.find_elements("css selector", "#scatter .point")
    assert len(points) == 30
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", points[-1])
    ActionChains(browser).move_to_element(points[-1]).perform()
    assert one(browser, "#image-point").text.startswith("val_")


@pytest.mark.parametrize(("width", "scheme"), SCHEMES)
def test_page_fits_its_window(chromium, report, width, scheme):  # noqa: F811
    show(chromium, report[0], width=width, scheme=scheme)
    wide = chromium.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width
    assert chromium.execute_script("return document.documentElement.dataset.theme") == scheme
