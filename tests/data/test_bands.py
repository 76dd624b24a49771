"""Images of many bands: what the reader returns, and the statistics of the training images."""

import itertools
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from band_scenes import BANDS, scene, write_scenes
from PIL import Image

from fcnexp.data.band_statistics import describe, moments_of
from fcnexp.data.bands import picture_of, read_bands, stored_bands
from fcnexp.data.own import Folder
from fcnexp.data.sample import Sample
from fcnexp.data.transforms import Augment
from fcnexp.errors import ConfigError, DataError
from fcnexp.system.bands_file import BandsFile, read_bands_file, write_bands_file

SCENE = scene(0)[0]  # uint16 (40, 48, 5)


def own(root, **options) -> Folder:
    return Folder(str(root), None, None, 0.2, **options)


def described(root, **told) -> BandsFile:
    told = {"axes": None, "nodata": None, "rgb": None} | told
    return describe(own(root).undescribed(), in_order=map, **told)[0]


def prepared(root, **told) -> Folder:
    data = own(root)
    write_bands_file(data.bands_file, described(root, **told))
    return data


def write_tiff(path, array, **options):
    tifffile = pytest.importorskip("tifffile", reason="the extra bands is not installed")
    tifffile.imwrite(path, array, **options)


WAYS = {  # array to save, and tifffile's options
    "interleaved": (SCENE, {"planarconfig": "contig", "photometric": "minisblack"}),
    "planar": (SCENE.transpose(2, 0, 1), {"planarconfig": "separate", "photometric": "minisblack"}),
    "deflated": (SCENE, {"planarconfig": "contig", "compression": "zlib", "predictor": True}),
    "tiled": (SCENE, {"planarconfig": "contig", "tile": (16, 16), "photometric": "minisblack"}),
    "imagej": (SCENE.transpose(2, 0, 1), {"imagej": True, "metadata": {"axes": "CYX"}}),
    "ome": (SCENE.transpose(2, 0, 1), {"ome": True, "metadata": {"axes": "CYX"}}),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_tiff_says_the_order_of_its_axes(tmp_path, way):
    array, options = WAYS[way]
    write_tiff(tmp_path / "a.tif", array, **options)
    other = "hwc" if array.shape[0] == BANDS else "chw"  # what is told of other files
    found = read_bands(tmp_path / "a.tif", count=BANDS, axes=other, nodata=None)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found, SCENE.transpose(2, 0, 1))


@pytest.mark.parametrize("axes", ["hwc", "chw"])
@pytest.mark.parametrize("kind", ["u1", ">u2", "i4", "f4", "f8"])
def test_npy_of_any_type_in_both_orders(tmp_path, axes, kind):
    array = (SCENE // 16).astype(kind)
    np.save(tmp_path / "a.npy", array if axes == "hwc" else array.transpose(2, 0, 1))
    found = read_bands(tmp_path / "a.npy", count=BANDS, axes=axes, nodata=None)
    np.testing.assert_array_equal(found, array.transpose(2, 0, 1).astype(np.float32))


def test_png_of_four_bands_and_of_one_of_16_bits(tmp_path):
    four = (SCENE[..., :4] // 32).astype(np.uint8)
    Image.fromarray(four, "RGBA").save(tmp_path / "a.png")
    Image.fromarray(SCENE[..., 3]).save(tmp_path / "b.png")
    found = read_bands(tmp_path / "a.png", count=4, axes=None, nodata=None)
    np.testing.assert_array_equal(found, four.transpose(2, 0, 1))
    found = read_bands(tmp_path / "b.png", count=1, axes=None, nodata=None)
    np.testing.assert_array_equal(found[0], SCENE[..., 3])


def test_missing_pixels_are_nan(tmp_path):
    array = SCENE.astype(np.float32)
    array[0, 0], array[1, 1, 2], array[2, 2, 1], array[3, 3, 4] = -9999, -9999, np.nan, np.inf
    np.save(tmp_path / "a.npy", array)
    found = read_bands(tmp_path / "a.npy", count=BANDS, axes="hwc", nodata=-9999).isnan()
    assert found[:, 0, 0].all() and found.sum() == 5 + 3
    assert found[2, 1, 1] and found[1, 2, 2] and found[4, 3, 3]


def test_pickles_other_counts_and_other_numbers_are_refused_by_name(tmp_path):
    np.save(tmp_path / "pickle.npy", np.array([{}]), allow_pickle=True)
    np.save(tmp_path / "four.npy", SCENE[..., :4])
    np.save(tmp_path / "complex.npy", SCENE.astype(complex))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "four.npy").read_bytes()[:500])
    texts = {
        "pickle": "damaged or not an image",
        "four": "has 4 bands .shape .40, 48, 4.., but 5 are expected",
        "complex": "holds complex128; save bands as whole numbers or floats",
        "cut": "damaged or not an image",
    }
    for name, text in texts.items():
        with pytest.raises(DataError, match=rf"{name}.npy: {text}"):
            read_bands(tmp_path / f"{name}.npy", count=BANDS, axes="hwc", nodata=None)


def test_tiffs_of_times_and_16_bit_colour_pngs_are_refused(tmp_path):
    array = SCENE.transpose(2, 0, 1)
    write_tiff(tmp_path / "t.tif", array, imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(DataError, match="t.tif: TIFF with the axes TYX"):
        stored_bands(tmp_path / "t.tif")
    write_png_of_16_bits(tmp_path / "c.png")
    with pytest.raises(DataError, match="c.png: RGB image stored as RGB;16B, whose bands are not"):
        stored_bands(tmp_path / "c.png")


def write_png_of_16_bits(path):
    """A PNG of one pixel with three channels of 16 bits, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixel = zlib.compress(b"\0" + bytes(6))
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", pixel), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_statistics_are_those_of_the_training_images_alone(tmp_path):
    root = write_scenes(tmp_path / "fields")
    found = described(root)
    pixels = np.concatenate([scene(seed)[0].reshape(-1, BANDS) for seed in range(6)])
    assert (found.axes, found.images, found.nodata) == ("hwc", 6, None)
    for band in range(BANDS):
        values = [int(v) for v in pixels[:, band]]
        mean = sum(values) / len(values)
        assert found.mean[band] == pytest.approx(mean, rel=1e-12)
        spread = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5
        assert found.std[band] == pytest.approx(spread, rel=1e-12)


def test_statistics_leave_missing_pixels_out_and_hold_far_from_zero(tmp_path):
    array = 1e6 + np.arange(12.0).reshape(2, 3, 2)
    array[0, 0, 0] = -1
    np.save(tmp_path / "a.npy", array)
    np.save(tmp_path / "b.npy", array + 5)  # its missing pixel is 4, a value
    read = {"count": 2, "axes": "hwc", "nodata": -1}
    found = moments_of(tmp_path / "a.npy", **read).merged(moments_of(tmp_path / "b.npy", **read))
    known = [*array[..., 0].ravel()[1:], *(array[..., 0] + 5).ravel()]
    assert found.known.tolist() == [11, 12] and found.missing.tolist() == [1, 0]
    np.testing.assert_allclose(found.mean[0], np.mean(known), rtol=1e-12)
    np.testing.assert_allclose(found.std[0], np.std(known), rtol=1e-9)
    assert (found.low[1], found.high[1]) == (1e6 + 1, 1e6 + 16)


@pytest.mark.parametrize("axes", ["hwc", "chw"])
def test_the_masks_tell_the_order_of_axes(tmp_path, axes):
    def save(place, image):
        np.save(place.with_suffix(".npy"), image if axes == "hwc" else image.transpose(2, 0, 1))

    data = prepared(write_scenes(tmp_path / "fields", save), rgb=[3, 2, 1])
    assert read_bands_file(data.bands_file, "").axes == axes
    sample = data.train(("bands",))[0]
    np.testing.assert_array_equal(sample.fields["bands"], SCENE.transpose(2, 0, 1))
    assert sample.label.shape == (40, 48)
    assert data.usual == ("bands",) and data.val(()).ids == ["scene6", "scene7"]


def test_square_images_with_as_many_bands_as_pixels_must_be_told(tmp_path):
    def save(place, image):
        np.save(place.with_suffix(".npy"), image[:5, :5])

    root = write_scenes(tmp_path / "fields", save)
    for path in (root / "masks").iterdir():
        Image.fromarray(np.array(Image.open(path))[:5, :5]).save(path)
    with pytest.raises(ConfigError, match="shape .5, 5, 5., whose bands may be .* add axes=hwc if"):
        described(root)
    assert described(root, axes="chw").axes == "chw"


def test_one_file_with_other_bands_is_named(tmp_path):
    root = write_scenes(tmp_path / "fields")
    prepared(root)
    (root / "val.txt").write_text("scene3\n")
    np.save(root / "images/scene3.npy", SCENE[..., :4])
    with pytest.raises(DataError, match=r"scene3.npy: has 4 bands, but .*scene0.npy has 5"):
        described(root)
    with pytest.raises(DataError, match=r"scene3.npy: has 4 bands .* but 5 are expected"):
        own(root).val(("bands",))[0]


def test_statistics_of_other_training_images_are_refused(tmp_path, caplog):
    root = write_scenes(tmp_path / "fields")
    data = prepared(root, rgb=[3, 2, 1], nodata=0)
    data.train(("bands",))
    (root / "train.txt").write_text("scene0\nscene1\n")
    with pytest.raises(
        DataError, match="bands.yaml: holds mean and deviation of 6 other training images than "
        "these 2, by their names and sizes; write it again: python -m fcnexp.prepare bands "
        rf"data=folder data.root={root} axes=hwc nodata=0 rgb=\[3,2,1\]$"
    ):  # fmt: skip
        own(root).train(("bands",))
    assert len(own(root).val(("bands",))) == 2  # scoring needs none
    prepared(root)
    assert not caplog.text
    later = os.stat(root / "bands.yaml").st_mtime + 60
    os.utime(root / "images/scene1.npy", (later, later))
    own(root).train(("bands",))
    assert "older than some training images; if their pixels have changed" in caplog.text


def test_a_gdal_tag_of_missing_pixels_is_found(tmp_path):
    def save(place, image, tag="-1"):
        image = image.astype(np.int32)
        image[0, 0] = -1
        options = {"planarconfig": "contig", "photometric": "minisblack"}
        extra = [(42113, "s", 0, tag, True)]
        write_tiff(place.with_suffix(".tif"), image, extratags=extra, **options)

    root = write_scenes(tmp_path / "fields", save)
    found = described(root)
    assert (found.nodata, found.axes) == (-1, None)
    assert min(found.mean) > 300 and described(root, nodata=0).mean[0] < found.mean[0]
    save(root / "images/scene0", SCENE, tag="0")
    with pytest.raises(ConfigError, match="some files say -1, others 0; add nodata=VALUE"):
        described(root)


def test_a_damaged_description_is_refused(tmp_path):
    data = prepared(write_scenes(tmp_path / "fields"))
    text = data.bands_file.read_text()
    for old, new in (("std: [", "std: [-1, "), ("axes: hwc", "axes: whc"), ("rgb", "bgr")):
        data.bands_file.write_text(text.replace(old, new, 1) if old != "rgb" else "[1]")
        with pytest.raises(DataError, match="write it again: "):
            own(tmp_path / "fields").val(("bands",))


def test_pictures_stretch_each_band_from_its_2nd_to_98th_percentile():
    bands = torch.arange(4 * 101.0).view(4, 1, 101)
    bands[1, 0, 7] = torch.nan
    shown = picture_of(bands, [4, 1, 2])
    assert shown.dtype == np.uint8 and shown.shape == (1, 101, 3)
    slow = [[min(255, max(0, int((i - 2) * 255 / 96))) for i in range(101)]]
    np.testing.assert_array_equal(shown[..., 0], slow)
    np.testing.assert_array_equal(shown[..., 1], slow)
    assert shown[0, 7, 2] == 0 and shown[0, 100, 2] == 255
    assert (picture_of(bands[:2], None) == picture_of(bands[:1], None)).all()  # grey of the first
    assert list(itertools.chain(*picture_of(torch.zeros(1, 1, 2), None)[0])) == [0] * 6


def test_augmentation_moves_all_bands_with_the_label():
    """Each band holds a copy of the label, so that they must stay equal."""
    label = torch.from_numpy(scene(1)[1])
    bands = torch.stack([label.float() * 1000, label.float() * 7, label.float()])
    augment = Augment(
        **{"resize": None, "mirror": 1.0, "scale": (1, 1), "crop": (20, 31), "jitter": 5},
        **{"drop_smaller": False, "colour": 0},
    )
    found = augment(Sample("a", {"bands": bands}, label), seed=3)
    assert (
        found.fields["bands"].shape == (3, 20, 31) and found.fields["bands"].dtype == torch.float32
    )
    known = found.label != 255
    for band, factor in zip(found.fields["bands"], (1000, 7, 1), strict=True):
        assert torch.equal(band[known], found.label[known] * float(factor))
    assert 0 < found.label[known].float().mean() < 1


def test_resizing_does_not_mix_missing_pixels_in():
    bands = torch.full((5, 12, 12), 7.0)
    bands[:, 6:] = torch.nan
    augment = Augment(
        **{"resize": (18, 18), "mirror": 0, "scale": (1, 1), "crop": None, "jitter": 0},
        **{"drop_smaller": False, "colour": 0},
    )
    found = augment(Sample("a", {"bands": bands}, torch.zeros(12, 12, dtype=torch.uint8)), seed=0)
    values = found.fields["bands"]
    assert values[:, :8].eq(7).all() and values[:, 10:].isnan().all()
    assert set(values[~values.isnan()].tolist()) == {7.0}


def test_described_files_are_not_kept_open(tmp_path):
    """A process may open about a thousand files, and a data set has more."""
    root = write_scenes(tmp_path / "fields")
    Image.fromarray(SCENE[..., 0]).save(root / "images/one.png")
    before = len(os.listdir("/proc/self/fd"))
    kept = [stored_bands(path) for path in sorted((root / "images").iterdir())]
    assert len(os.listdir("/proc/self/fd")) == before and len(kept) == 9
    assert kept[0].shape == (40, 48) and kept[0].dtype == np.uint16 and kept[0].axes == "chw"


def test_the_masks_tell_the_order_of_a_tiff_that_does_not_say_it(tmp_path):
    """tifffile's own default: one page for each index of the first axis, whatever that is."""

    def save(place, image):
        write_tiff(place.with_suffix(".tif"), image, photometric="minisblack")

    data = prepared(write_scenes(tmp_path / "fields", save))
    assert read_bands_file(data.bands_file, "").axes == "hwc"
    found = data.train(("bands",))[0].fields["bands"]
    np.testing.assert_array_equal(found, SCENE.transpose(2, 0, 1))
