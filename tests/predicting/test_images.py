"""Which files of the input are labelled, and what is said of the others."""

import pytest
from PIL import Image

from fcnexp.errors import ConfigError
from fcnexp.predicting.images import find_images, left_out


def names(source) -> list[str]:
    return [path.name for path in find_images(str(source))]


@pytest.fixture
def photos(tmp_path):
    """A folder of many formats."""
    for name in ("a.jpg", "b.jp2", "c.gif", "e.AVIF", "f.tif"):
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    Image.new("RGB", (8, 6)).save(tmp_path / "d.jfif", "JPEG")
    for name in ("._a.jpg", ".DS_Store", "Thumbs.db", "g.heic", "h.heic", "notes.txt"):
        (tmp_path / name).write_bytes(b"\0")
    for name in ("tiles.jpg", "__MACOSX"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_every_format_that_pillow_reads_is_labelled_and_the_rest_is_named_with_its_reason(photos):
    assert names(photos) == ["a.jpg", "b.jp2", "c.gif", "d.jfif", "e.AVIF", "f.tif"]
    said = left_out(str(photos))
    assert said.startswith("left out: ")
    for part in ("._a.jpg (hidden)", "g.heic, h.heic (.heic is not read; save it as JPEG or PNG)"):
        assert part in said
    assert "tiles.jpg (a folder; " in said and "notes.txt (not an image by its name)" in said
    assert not {"DS_Store", "Thumbs", "__MACOSX"} & set(said.replace(".", " ").split())


def test_nothing_is_said_if_nothing_is_left_out(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg")
    assert not left_out(str(tmp_path)) and not left_out(str(tmp_path / "*.jpg"))


def test_a_folder_without_images_says_what_it_has(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.heic").write_bytes(b"")
    with pytest.raises(
        ConfigError, match=r"no images found.*left out: 0\.heic, 1.*and 2 more \(.h"
    ):
        find_images(str(tmp_path))


def test_a_name_that_exists_is_no_pattern(tmp_path, monkeypatch):
    for folder, name in (("photos [2024]", "a"), ("photos 2", "b")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 6)).save(tmp_path / folder / f"{name}.jpg")
    assert names(tmp_path / "photos [2024]") == names(tmp_path / "photos [2024]/*.jpg") == ["a.jpg"]
    monkeypatch.chdir(tmp_path)
    assert names("photos [2024]/?.jpg") == ["a.jpg"]
    assert names("photos [2]/*.jpg") == ["b.jpg"]  # a pattern, as no folder has this name
