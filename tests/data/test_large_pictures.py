"""Own pictures may have any size; those of published data sets keep to Pillow's limit."""

from struct import pack
from zlib import crc32

import numpy as np
import pytest
from fake_data import png_bytes, voc_tree
from peoples_folders import scene, write
from PIL import Image

from fcnexp.data import files
from fcnexp.data.camvid import camvid_segmentation
from fcnexp.data.files import opened, read_rgb, read_size
from fcnexp.data.own import Folder
from fcnexp.data.voc import voc_segmentation
from fcnexp.errors import DataError


@pytest.fixture
def limit_of_200(monkeypatch) -> None:
    """Pillow's limit, of which it refuses twice as many pixels, lowered for small files."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A PNG of 182 megapixels, one bit each: 22 kB."""
    path = tmp_path_factory.mktemp("large") / "map.png"
    path.write_bytes(png_bytes([bytes(1750)] * 13000, width=14000, bits=1, kind=0))
    return path


def test_a_map_of_182_megapixels_is_opened_as_what_it_is(large):
    assert read_size(large, own=True) == (13000, 14000)
    words = r"map\.png: says that it has 182 megapixels; .* may have 179, .*data=folder data\.root"
    with pytest.raises(DataError, match=words):
        read_size(large)
    assert Image.MAX_IMAGE_PIXELS is not None


def test_own_images_and_masks_are_read_whole(tmp_path, limit_of_200):
    write(tmp_path)
    samples = Folder(str(tmp_path), None, None, 0.5).train(("rgb",))
    np.testing.assert_array_equal(samples[2].label, scene(2)[1])
    assert samples[2].fields["rgb"].shape == (3, 24, 32) and samples.size(2) == (24, 32)
    assert samples.note(2, (24, 32)) == (1, False)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_published_images_keep_to_the_limit(tmp_path, limit_of_200):
    root = voc_tree(tmp_path / "voc")
    picture = root / "JPEGImages/a.jpg"
    Image.new("RGB", (32, 24)).save(picture)
    with pytest.raises(DataError, match=r"a\.jpg: says that it has 0\.000768 megapixels"):
        _ = voc_segmentation(root, "train", 21)[0]
    for half in ("train", "val"):
        for folder in (half, f"{half}annot"):
            (tmp_path / "camvid" / folder).mkdir(parents=True)
            Image.new("L", (32, 24)).save(tmp_path / f"camvid/{folder}/{half}1.png")
    with pytest.raises(DataError, match=r"train1\.png: says that it has"):
        _ = camvid_segmentation(tmp_path / "camvid", "train")[0]


def test_what_does_not_fit_in_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    claims = png_bytes([b""], width=10**5, bits=8, kind=2)
    claims = claims.replace(pack(">II", 10**5, 1), pack(">II", 10**5, 10**5))
    for name in ("images/s2.jpg", "masks/s2.png"):
        write(tmp_path)
        (tmp_path / name).write_bytes(with_sums(claims))
        monkeypatch.setattr(files, "free", lambda: 16 * 10**9)
        samples = Folder(str(tmp_path), None, None, 0.5).train(("rgb",))
        words = "s2.*100000x100000 pixels need 80 GB to be read, but 16 GB are free; cut it"
        with pytest.raises(DataError, match=words):
            samples[2]


def with_sums(png: bytes) -> bytes:
    """The PNG with the checksum of its changed header."""
    return png[:29] + pack(">I", crc32(png[12:29])) + png[33:]


def test_the_limit_is_back_after_an_error(tmp_path, limit_of_200):
    (tmp_path / "a.png").write_bytes(b"cut")
    with pytest.raises(DataError, match="damaged"), opened(tmp_path / "a.png", own=True):
        pass
    assert Image.MAX_IMAGE_PIXELS == 100
    Image.new("RGB", (32, 24), (9, 8, 7)).save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png", own=True)[:, 5, 5].tolist() == [9, 8, 7]
