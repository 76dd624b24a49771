"""HHA equals the original MATLAB output and the geometry of known rooms."""

import json

import numpy as np
import pytest
from PIL import Image
from places import SHARED
from rgbd_scenes import CAMERA, NOTHING, far_from_edges, rays, room, tilted

from fcnexp.data.hha import (
    NYUD_CROP,
    NYUD_INTRINSICS,
    _say_undetermined,
    angles,
    crop_intrinsics,
    encode_hha,
    gravity,
    heights,
)
from fcnexp.data.normals import plane_normals
from fcnexp.errors import DataError

CROPPED = crop_intrinsics(NYUD_INTRINSICS, *NYUD_CROP)


def golden(name):
    path = SHARED / "golden" / "hha" / name
    if not path.is_file():
        pytest.skip(f"needs the golden file {path}")
    return np.asarray(Image.open(path))


def encode_golden(folder, unit, mask, camera):
    """HHA, the expected output, and masks of windows with a plane and of windows without pixels."""
    scale = 1e4 if unit == "e-4m" else 1e3
    depth = golden(f"{folder}/depth_{unit}.png") / scale
    missing = golden(f"{folder}/rawdepth_{unit}.png") == 0 if "RD" in mask else depth == 0
    want = golden(f"{folder}/hha_{mask}.png").astype(int)
    fine, _ = plane_normals(depth * 100, missing, camera)
    empty = far_from_edges(missing, True, 3)
    return encode_hha(depth, missing, camera).astype(int), want, ~np.isnan(fine[0]), empty


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "unit", "mask", "camera", "halves"),
    [
        ("nyu0001_full", "e-4m", "matlab_maskD", NYUD_INTRINSICS, 0),
        ("nyu0001_crop", "mm", "port_maskD_cropK", CROPPED, 0),
        ("rcnn_depth_demo", "mm", "port_maskD_cropK", CROPPED, 17),  # z = 4.96 m; port: to even
    ],
)
def test_every_pixel_equals_the_original_without_missing_depth(folder, unit, mask, camera, halves):
    hha, want, _, _ = encode_golden(folder, unit, mask, camera)
    np.testing.assert_array_equal(hha[..., 1:], want[..., 1:])
    differ = hha[..., 0] != want[..., 0]
    assert differ.sum() == halves
    assert (hha[differ, 0] == 63).all() and (want[differ, 0] == 62).all()


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "unit", "mask", "camera", "noise"),
    [  # noise: percent of windows with pixels but no plane. Source: HHA_SPEC.md sec. 8
        ("nyu0001_full", "e-4m", "port_maskRD", NYUD_INTRINSICS, 0.83),
        ("nyu0001_crop", "mm", "matlab_maskRD_fullK", NYUD_INTRINSICS, 0.24),
        ("nyu0001_crop", "mm", "port_maskRD_cropK", CROPPED, 0.24),
        ("rcnn_depth_demo", "mm", "port_maskRD_cropK", CROPPED, 1.78),
    ],
)
def test_missing_depth_changes_only_noise_by_more_than_1(folder, unit, mask, camera, noise):
    hha, want, planes, empty = encode_golden(folder, unit, mask, camera)
    off = abs(hha - want)
    assert np.count_nonzero(hha[..., 0] - want[..., 0]) == (17 if "demo" in folder else 0)
    assert off[..., :2].max() <= 1 and off[planes, 2].max() == 1
    assert np.mean(off[planes, 2] > 0) < 0.007
    assert (hha[empty, 2] == 218).all() and (want[empty, 2] == 218).all()
    assert 100 * np.mean(~planes & ~empty) == pytest.approx(noise, abs=0.005)


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["nyu0001_crop", "rcnn_depth_demo"])
def test_gravity_equals_the_port(folder):
    depth = golden(f"{folder}/depth_mm.png") / 10
    known = json.loads((SHARED / "golden/hha/intermediates.json").read_text())
    down = gravity(plane_normals(depth, depth == 0, CROPPED)[1])
    case = next(known[key] for key in known if key.startswith(f"{folder}/") and "maskD" in key)
    np.testing.assert_allclose(down, case["gravity"], atol=1e-9)


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (12, 0), (-8, 5), (3, -10)])
def test_room_has_known_heights_and_angles(pitch, roll):
    _, down, forward = tilted(pitch, roll)
    camera = np.array([[250.0, 0, 150.3], [0, 255.0, 120.6], [0, 0, 1]])
    ray = rays(250, 300, camera)
    z, surface = room(ray, down, forward, above_floor=1.2, below_ceiling=0.9, to_wall=6.0)
    hha = encode_hha(z, None, camera).astype(int)
    # Tolerance 1 degree and 5 cm of 6 m: windows over two surfaces disturb gravity.
    height = 120 - 100 * z * np.tensordot(down, ray, 1)
    np.testing.assert_allclose(hha[..., 1], height, atol=5)
    np.testing.assert_allclose(heights(100 * z, camera, down), height, atol=1e-9)
    for which, angle in enumerate((38, 218, 128)):
        plain = far_from_edges(surface, which, 3)
        assert plain.any() and abs(hha[plain, 2] - angle).max() <= 1


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (25, 0), (-20, 10), (5, -30)])
def test_gravity_is_down_for_a_tilted_camera(pitch, roll):
    rng = np.random.default_rng(2)
    right, down, forward = tilted(pitch, roll)
    parts = [axis[:, None].repeat(40, axis=1) for axis in (right, -right, forward, down, -down)]
    clutter = rng.normal(size=(3, 30))
    normals = np.concatenate([*parts, clutter / np.linalg.norm(clutter, axis=0)], axis=1)
    normals[:, :5] = np.nan
    assert gravity(normals[:, None]) @ down > np.cos(np.deg2rad(3))


def test_gravity_equals_slow_loops():
    rng = np.random.default_rng(3)
    normals = rng.normal(size=(3, 7, 90)) * np.array([1, 2, 1])[:, None, None]
    normals /= np.linalg.norm(normals, axis=0)
    down = np.array([0.0, 1, 0])
    for degrees in 5 * [45] + 5 * [15]:
        scatter = np.zeros((3, 3))
        for normal in normals.reshape(3, -1).T:
            along = abs(normal @ down)
            wall, floor = along < np.sin(np.deg2rad(degrees)), along > np.cos(np.deg2rad(degrees))
            scatter += (int(wall) - int(floor)) * np.outer(normal, normal)
        least = np.linalg.eigh(scatter)[1][:, 0]
        down = least * np.sign(least @ down)
    np.testing.assert_allclose(gravity(normals), down, atol=1e-12)


def test_gravity_without_normals_is_straight_down():
    assert gravity(np.full((3, 4, 5), np.nan)).tolist() == [0, 1, 0]


@pytest.mark.parametrize("degrees", [50, 60, 75, 90])
@pytest.mark.parametrize("roll", [0, 20, 90])
def test_gravity_stays_upright_if_a_lone_plane_does_not_determine_it(degrees, roll):
    """A plane tilted by more than 45 degrees counts as a wall, orthogonal to a circle of downs."""
    tilt, roll = np.deg2rad([degrees, roll])
    plane = np.array([np.sin(tilt) * np.sin(roll), np.cos(tilt), np.sin(tilt) * np.cos(roll)])
    assert gravity(np.tile(plane[:, None, None], (1, 4, 5))).tolist() == [0, 1, 0]


def test_gravity_is_a_lone_floors_normal_up_to_45_degrees():
    floor = np.array([0, np.cos(np.deg2rad(40)), np.sin(np.deg2rad(40))])
    np.testing.assert_allclose(gravity(np.tile(floor[:, None, None], (1, 4, 5))), floor, atol=1e-12)


def test_hha_of_a_lone_wall_is_that_of_a_level_camera_and_says_so_once(caplog):
    _say_undetermined.cache_clear()
    found = [encode_hha(np.full((48, 64), 2.0), None, CAMERA) for _ in range(2)][1]
    rows = np.arange(48) + 1
    up = -200 * (rows - CAMERA[1, 2]) / CAMERA[1, 1]  # cm
    lowest = up.min()
    expected = np.minimum(up - (lowest if lowest <= -90 else -130), 255)
    np.testing.assert_array_equal(found[..., 1], np.floor(expected + 0.5)[:, None] * np.ones(64))
    assert (found[..., 2] == 128).all() and len(np.unique(found[..., 1])) > 10
    (record,) = caplog.records
    assert "does not determine gravity" in record.message and record.levelname == "WARNING"


def test_gravity_comes_from_the_coarse_windows():
    rng = np.random.default_rng(5)
    _, down, forward = tilted(10, 5)
    z, _ = room(rays(), down, forward, above_floor=1.2, below_ceiling=0.9, to_wall=6.0)
    z *= rng.uniform(0.97, 1.03, z.shape)
    fine, coarse = (
        np.floor(heights(100 * z, CAMERA, gravity(normals)) + 0.5)
        for normals in plane_normals(100 * z, NOTHING, CAMERA)
    )
    found = encode_hha(z, None, CAMERA)[..., 1]
    assert (found == np.minimum(coarse, 255)).all() and (found != fine).any()


def test_disparity_by_hand():
    z = np.repeat([0.5, 1.0, 1.25, 4.0, 4.96, 10.0], 10) * np.ones((50, 1))
    disparity = encode_hha(z, None, CAMERA)[0, ::10, 0]
    assert disparity.tolist() == [255, 255, 248, 78, 63, 31]  # 31000 / cm; 77.5 and 62.5 go up


def test_floor_out_of_view_is_130_cm_below():
    z = np.full((50, 60), 200.0)  # a wall; the last row is 62 cm below the camera
    below = 200 * (np.arange(50) + 1 - CAMERA[1, 2]) / CAMERA[1, 1]
    up = heights(z, CAMERA, np.array([0.0, 1.0, 0.0]))
    np.testing.assert_allclose(up, (130 - below)[:, None].repeat(60, 1))


@pytest.mark.parametrize(("metres", "lowest"), [(2.8, 130 - 86.73), (3.0, 0.0)])
def test_floor_in_view_is_at_least_90_cm_below(metres, lowest):
    up = heights(np.full((50, 60), 100 * metres), CAMERA, np.array([0.0, 1.0, 0.0]))
    assert up.min() == pytest.approx(lowest, abs=0.01)


@pytest.mark.parametrize(("degrees", "turned"), [(0.09, False), (0.11, True)])
def test_heights_ignore_a_tilt_below_a_tenth_of_a_degree(degrees, turned):
    z, tilt = np.full((50, 60), 300.0), np.deg2rad(degrees)
    up = heights(z, CAMERA, np.array([np.sin(tilt), np.cos(tilt), 0.0]))
    assert (np.ptp(up, axis=1).max() > 0.1) == turned


def test_angles_at_their_limits():
    down = np.array([0.0, 1.0, 0.0])
    normals = np.array([[0, 1 + 1e-12, 0], [0, -1 - 1e-12, 0], [0, 0, 1], [np.nan] * 3]).T
    assert angles(normals[:, None], down)[0].tolist() == [38, 218, 128, 218]


def test_missing_pixels_do_not_affect_normals():
    rng = np.random.default_rng(4)
    z = np.full((50, 60), 2.0)
    missing = rng.random(z.shape) < 0.3
    z[missing] = rng.uniform(1, 3, missing.sum())
    assert (encode_hha(z, missing, CAMERA)[..., 2] == 128).all()
    for mask in (None, missing & (rng.random(z.shape) < 0.5)):  # zeros count as missing anyway
        assert (encode_hha(np.where(missing, 0, z), mask, CAMERA)[..., 2] == 128).all()


@pytest.mark.parametrize(
    "line", [(slice(0), 0), (20, 30), (20, slice(28, 33)), ([19, 20], [30, 31])]
)
def test_pixels_without_a_plane_have_angle_218(line):
    missing = NOTHING.copy()
    missing[10:31, 20:41] = True
    missing[line] = False
    hha = encode_hha(np.full(missing.shape, 2.0), missing, CAMERA)
    assert hha[20, 30, 2] == 218 and hha[5, 5, 2] == 128
    missing[21, 29] = missing[21, 31] = missing[22, 30] = False
    assert encode_hha(np.full(missing.shape, 2.0), missing, CAMERA)[20, 30, 2] == 128


def test_crop_has_the_same_rays():
    assert CROPPED[:2, 2].tolist() == [285.58244941119034, 208.73616633400465]
    whole, part = rays(480, 640, NYUD_INTRINSICS), rays(425, 560, CROPPED)
    np.testing.assert_allclose(whole[:, 45:470, 40:600], part, atol=1e-12)


@pytest.mark.parametrize(
    ("depth", "missing", "camera", "text"),
    [
        (np.ones((1, 50, 60)), None, CAMERA, r"shape \(1, 50, 60\).*without a channel axis"),
        (np.ones((50, 0)), None, CAMERA, r"shape \(50, 0\)"),
        (np.ones((50, 60)), NOTHING[1:], CAMERA, r"missing is bool of shape \(49, 60\)"),
        (np.ones((50, 60)), NOTHING * 1, CAMERA, "missing is int64.*raw == 0"),
        (np.ones((50, 60)), ~NOTHING, CAMERA, "all 3000 pixels.*True for pixels without depth"),
        (np.zeros((50, 60)), None, CAMERA, "missing or 0 in all 3000 pixels"),
        (np.where(np.arange(60) < 1, np.nan, np.ones((50, 60))), None, CAMERA, "NaN.* 50 of 3000"),
        (np.where(np.arange(60) < 2, np.inf, np.ones((50, 60))), None, CAMERA, "NaN.* 100 of 3000"),
        (np.full((50, 60), -1.0), None, CAMERA, "negative in 3000 of 3000"),
        (np.full((50, 60), 2500.0), None, CAMERA, "median of 2500.*try depth / 1000"),
        (np.ones((50, 60)), None, CAMERA[:2], r"shape \(2, 3\).*\[\[fx, 0, cx\]"),
        (np.ones((50, 60)), None, CAMERA * np.nan, "they must be finite"),
        (np.ones((50, 60)), None, np.diag([-80, 80, 1]), "focal lengths -80 and 80.*above 0"),
        (np.ones((50, 60)), None, CAMERA.T, "without skew.*transpose"),
    ],
)
def test_errors_say_what_to_do(depth, missing, camera, text):
    with pytest.raises(DataError, match=text):
        encode_hha(depth, missing, camera)


def test_a_few_depths_beyond_50_metres_are_accepted():
    z = np.full((50, 60), 3.0)
    z[:20] = 65.0
    assert encode_hha(z, None, CAMERA).shape == (50, 60, 3)
