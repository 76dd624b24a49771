"""Image grid of a report, from made-up panels."""

import base64
import io

import numpy as np
import pytest
from made_up_runs import write_pictures, write_run
from PIL import Image

from fcnexp.reporting import grid
from fcnexp.reporting.comparison import compare
from fcnexp.reporting.records import read_runs


def read(folder):
    return grid.read_grid(compare(read_runs([folder]).finished).rows)


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.fixture
def two_rows(tmp_path):
    for number in range(2):
        write_run(tmp_path / f"{number}", model__skips=[number])
    return tmp_path


def test_each_row_shows_its_own_prediction_for_the_same_image(two_rows):
    write_pictures(two_rows / "0", ["b", "a"], predicted=1)
    write_pictures(two_rows / "1", ["a", "b"], predicted=3)
    panels, left_out = read(two_rows)
    assert [panel.name for panel in panels] == ["a", "b"] and left_out == 0
    first, second = (np.array(decoded(uri)) for uri in panels[0].predictions)
    assert (first[0, 0], first[0, -1], second[0, -1]) == (0, 1, 3)
    assert panels[0].size == (32, 24) and decoded(panels[0].image).size == (32, 24)
    assert decoded(panels[0].truth).convert("RGB").getpixel((31, 0)) == (
        0,
        128,
        0,
    )  # class 2 in VOC's colours
    assert decoded(panels[0].truth).info["transparency"] == 0


def test_different_images_with_the_same_name_are_kept_apart(two_rows):
    write_pictures(two_rows / "0", ["a"], truth=2)
    write_pictures(two_rows / "1", ["a"], truth=4)
    panels, _ = read(two_rows)
    assert [[bool(uri) for uri in p.predictions] for p in panels] == [[True, False], [False, True]]


def test_pictures_come_from_the_first_seed_that_has_any(two_rows):
    write_run(two_rows / "2", model__skips=[0], seed=1)
    write_run(two_rows / "3", model__skips=[0], seed=2)
    write_pictures(two_rows / "2", ["a"], predicted=1)
    write_pictures(two_rows / "3", ["a", "b"], predicted=3)
    (panel,), left_out = read(two_rows)
    assert np.array(decoded(panel.predictions[0]))[0, -1] == 1 and panel.predictions[1] is None


def test_images_that_do_not_fit_are_counted(two_rows, monkeypatch):
    names = [f"{number:02}" for number in range(grid.MAX_IMAGES + 3)]
    write_pictures(two_rows / "0", names)
    panels, left_out = read(two_rows)
    assert (len(panels), left_out) == (grid.MAX_IMAGES, 3)
    size = sum(f.stat().st_size for f in (two_rows / "0/pictures/panels/00").iterdir())
    monkeypatch.setattr(grid, "MAX_BYTES", 2 * size + 1)
    panels, left_out = read(two_rows)
    assert (len(panels), left_out) == (2, len(names) - 2)


@pytest.mark.parametrize("name", ["image.jpg", "truth.png", "prediction.png"])
@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\n", b"no picture"])
def test_damaged_panel_is_left_out(two_rows, name, content):
    write_pictures(two_rows / "0", ["a", "b"])
    damaged = two_rows / "0/pictures/panels/a" / name
    damaged.unlink() if content is None else damaged.write_bytes(content)
    assert [panel.name for panel in read(two_rows).panels] == ["b"]


def test_run_without_pictures_has_no_grid(two_rows):
    assert read(two_rows) == ([], 0)


def test_large_image_is_shrunk_to_the_same_size_as_its_labels(tmp_path):
    write_run(tmp_path / "0")
    write_pictures(tmp_path / "0", ["a"], size=(40, 2000))
    (panel,), _ = read(tmp_path)
    assert panel.size == (500, 10) == decoded(panel.image).size
    assert set(np.unique(decoded(panel.truth))) == {0, 2}  # classes are not mixed
