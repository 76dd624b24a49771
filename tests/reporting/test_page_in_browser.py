"""The HTML page in headless Chromium (Debian packages chromium and chromium-driver)."""

import importlib.util
import shutil

import pytest
from test_page import EVIL, write_full

from fcnexp.reporting.page import page
from fcnexp.reporting.summary import read_summary

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
HAS_SELENIUM = importlib.util.find_spec("selenium") is not None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BROWSER and DRIVER and HAS_SELENIUM),
        reason=f"browser: {BROWSER}, chromedriver: {DRIVER}, selenium: {HAS_SELENIUM}; "
        "run apt-get install chromium chromium-driver, and pip install -e '.[dev]'",
    ),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """URL of a report with three rows of two seeds, and hostile class names."""
    folder = tmp_path_factory.mktemp("runs")
    for number in range(3):
        for seed in range(2):
            run = folder / f"{number}{seed}"
            write_full(run, number=number, seed=seed, names=("background", "<script>", EVIL))
    path = folder / "report.html"
    path.write_text(page(read_summary([folder], None)))
    return path.as_uri()


@pytest.fixture(scope="module")
def chromium():
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium, address):
    """The page, freshly loaded at laptop size in the light theme; its console must stay empty."""
    show(chromium, address)
    yield chromium
    assert chromium.get_log("browser") == []


def show(browser, address, *, width=1280, scheme="light"):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(address)


def one(browser, selector):
    return browser.find_element("css selector", selector)


def texts(browser, selector):
    return [found.text for found in browser.find_elements("css selector", selector)]


def press(browser, *keys):
    """Send keys to the focused element."""
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def choose(browser, selector, value):
    from selenium.webdriver.support.ui import Select

    Select(one(browser, selector)).select_by_value(value)


MAIN = "#main-table tbody tr:first-child "


def test_table_sorts_by_click_and_by_key(browser):
    from selenium.webdriver.common.keys import Keys

    header = "#main-table thead th:nth-child(3)"  # name, seeds, mean IU
    assert [t[:4] for t in texts(browser, MAIN + "td:nth-child(3)")] == ["40.0", "41.0", "44.0"]
    one(browser, header + " button").click()
    one(browser, header + " button").click()
    assert one(browser, header).get_attribute("aria-sort") == "descending"
    assert [t[:4] for t in texts(browser, MAIN + "td:nth-child(3)")] == ["44.0", "41.0", "40.0"]
    press(browser, Keys.ENTER)
    assert one(browser, header).get_attribute("aria-sort") == "ascending"
    assert [t[:4] for t in texts(browser, MAIN + "td:nth-child(3)")] == ["40.0", "41.0", "44.0"]


def test_missing_values_stay_last(browser):
    gain = "#main-table thead th:nth-child(4) button"  # empty in the first row
    for expected in (["+1.0", "+3.0", ""], ["+3.0", "+1.0", ""]):
        one(browser, gain).click()
        assert texts(browser, MAIN + "td:nth-child(4)") == expected


def test_row_expands_to_its_seeds_and_is_sorted_with_them(browser):
    one(browser, "#main-table tbody:nth-of-type(3) .expand").click()
    shown = [t for t in texts(browser, "#main-table tr.seed") if t]
    assert [t[:6] for t in shown] == ["seed 0", "seed 1"]
    for _ in range(2):
        one(browser, "#main-table thead th:nth-child(3) button").click()
    first = texts(browser, "#main-table tbody:nth-of-type(1) tr")
    assert first[0].startswith("▸\n[2]") and [t[:6] for t in first[1:]] == ["seed 0", "seed 1"]


def split_of(browser):
    return browser.execute_script(
        "const box = document.querySelector('.side.right');"
        "return [getComputedStyle(box).clipPath, document.getElementById('split').value]"
    )


def test_slider_moves_by_key_and_by_pointer(browser):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    assert split_of(browser) == ["inset(0px 0px 0px 50%)", "50"]
    browser.execute_script("document.getElementById('split').focus()")
    press(browser, *[Keys.ARROW_LEFT] * 5)
    assert split_of(browser) == ["inset(0px 0px 0px 45%)", "45"]
    stage = one(browser, "#stage")
    quarter = round(stage.size["width"] / 4)
    ActionChains(browser).click_and_hold(stage).move_by_offset(quarter, 0).release().perform()
    assert abs(int(split_of(browser)[1]) - 75) <= 1


def test_two_pictures_can_be_compared_by_keyboard_alone(browser):
    def shown():
        tags = texts(browser, "#stage .tag")
        return [*tags, one(browser, "#which").text]

    before = shown()
    assert before[0] == "ground truth" and before[2] == "val_0 (1 of 2)"
    browser.execute_script("document.getElementById('split').focus()")
    press(browser, "x")
    assert shown()[:2] == before[1::-1]
    press(browser, "n")
    assert shown()[2] == "val_1 (2 of 2)"
    press(browser, "n")
    assert shown()[2] == "val_0 (1 of 2)"
    masks = "#stage .side:first-child .mask"
    assert float(one(browser, masks).value_of_css_property("opacity")) < 1
    press(browser, "o")
    assert float(one(browser, masks).value_of_css_property("opacity")) == 1
    assert not one(browser, "#stage .side:first-child .photo").is_displayed()


def test_click_on_a_grid_picture_opens_it_in_the_comparison(browser):
    browser.find_elements("css selector", "#grid .pick")[4].click()  # second image, second row
    assert one(browser, "#which").text == "val_1 (2 of 2)"
    assert one(browser, "#right").get_attribute("value") == "1"
    wide = "return document.querySelector('#stage .side.right .mask').naturalWidth"
    assert browser.execute_script(wide) == 32


def test_curves_of_a_row_can_be_hidden(browser):
    lines = "g.line[data-row='1']"
    assert all(e.is_displayed() for e in browser.find_elements("css selector", lines + " path"))
    one(browser, ".toggle[data-row='1']").click()
    assert one(browser, ".toggle[data-row='1']").get_attribute("aria-pressed") == "false"
    assert not any(e.is_displayed() for e in browser.find_elements("css selector", lines))


def test_bars_show_the_chosen_score(browser):
    choose(browser, "#bar-score", "pixel_acc")
    shown = [t for t in texts(browser, ".barchart .value") if t]
    assert shown == ["90.0 / 89.1", "90.0 / 90.0", "90.0 / 90.3"]


def test_confusion_is_navigated_by_arrow_keys_and_by_row(browser):
    from selenium.webdriver.common.keys import Keys

    browser.execute_script("document.querySelector('#confusion-table td[tabindex=\"0\"]').focus()")
    text = f"ground truth background, prediction background: 90.0 %, {2 * 9} pixels"
    assert one(browser, "#confusion-cell").text == text
    press(browser, Keys.ARROW_DOWN, Keys.ARROW_LEFT)  # left of the first cell is a name: no move
    assert one(browser, "#confusion-cell").text == (
        "ground truth <script>, prediction background: 20.0 %, 4 pixels"
    )
    choose(browser, "#confusion-row", "2")
    assert len(browser.find_elements("css selector", "#confusion-table tbody td")) == 9


def test_hostile_text_is_shown_as_text(browser):
    assert "<script>" in texts(browser, "#classes th[scope=row]")
    assert EVIL in texts(browser, "#classes th[scope=row]")
    assert EVIL in texts(browser, "#confusion-table tbody th")
    counts = "return [document.scripts.length, document.querySelectorAll('img[src=\"x\"]').length]"
    assert browser.execute_script(counts) == [2, 0]


def background(browser):
    return one(browser, "body").value_of_css_property("background-color")


def test_dark_follows_the_system_until_the_button_is_pressed(browser, address):
    light = background(browser)
    one(browser, "#theme").click()
    dark = background(browser)
    assert dark != light and one(browser, "#theme").get_attribute("aria-pressed") == "true"
    show(browser, address, scheme="dark")
    assert background(browser) == dark
    one(browser, "#theme").click()
    assert background(browser) == light


@pytest.mark.parametrize("width", [1280, 768, 390, 320])
def test_page_never_scrolls_sideways(browser, address, width):
    show(browser, address, width=width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_every_control_is_reached_by_tab(browser):
    from selenium.webdriver.common.keys import Keys

    reached = set()
    for _ in range(80):
        press(browser, Keys.TAB)
        reached.add(browser.execute_script("return document.activeElement.id"))
    ids = {"theme", "bar-score", "confusion-row", "left", "right", "swap", "over", "split"}
    assert ids | {"next", "previous"} <= reached


def test_page_prints_to_pdf(browser):
    import base64

    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF") and 1 <= pdf.count(b"/Type /Page\n") <= 8
