"""Every real sample next to the repository can be read."""

from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from PIL import Image

from fcnexp.data.checking import Report, check_all
from fcnexp.data.files import read_depth, read_label_png, read_rgb
from fcnexp.data.voc import sbd_segmentation, voc_segmentation
from fcnexp.scoring.tasks import tasks_of

pytestmark = pytest.mark.real_data


def checked(samples, classes=21) -> Report:
    report, tasks = Report("", classes), tasks_of(("",) * classes, None)
    for one in check_all(samples, 2, tasks):
        report.add(one)
    return report


def values(path) -> list[int]:
    return np.unique(read_label_png(path)).tolist()


def test_all_2913_labels_of_voc_hold_classes_and_void(shared_data):
    paths = sorted((shared_data / "voc/SegmentationClass").glob("*.png"))
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(values, paths, chunksize=64))
    assert len(found) == 2913
    assert set().union(*found) == {*range(21), 255}


@pytest.mark.parametrize(("split", "count"), [("pairs_train", 444), ("pairs_val", 172)])
def test_all_voc_images_match_their_labels(shared_data, split, count):
    report = checked(voc_segmentation(shared_data / "voc", split, 21))
    assert report.images == count and not report.troubles
    assert 0.03 < report.void_share < 0.10 and max(max(s) for s in report.sizes) == 500


def test_all_407_pairs_of_sbd_are_read(shared_data):
    report = checked(sbd_segmentation(shared_data / "sbd", "pairs", 21))
    assert report.images == 407 and not report.troubles
    assert report.void_share == 0  # SBD has no void


def test_samples_of_nyud_are_read(shared_data):
    folder = shared_data / "nyud/rgb_depth_label40"
    for name, deepest in (("000433", 29649), ("000464", 26142)):
        rgb, depth = read_rgb(folder / f"{name}.png"), read_depth(folder / f"depth_gt_{name}.png")
        label = np.array(Image.open(folder / f"segm_gt_{name}.png"))
        assert depth.shape == (1, 480, 640) and depth.max() == deepest
        np.testing.assert_array_equal(rgb.permute(1, 2, 0), Image.open(folder / f"{name}.png"))
        assert label.shape == (480, 640) and set(np.unique(label)) <= {*range(40), 255}
    pairs = sorted((shared_data / "nyud/rgb_label40").glob("*_mask.png"))
    for mask in pairs:
        rgb = read_rgb(mask.with_name(mask.name.replace("_mask", "")))
        assert rgb.shape[-2:] == read_label_png(mask).shape
    assert len(pairs) == 5
