"""Normals of fitted planes equal those from slow sums and from least squares."""

import numpy as np
import pytest
from rgbd_scenes import CAMERA, rays

from fcnexp.data.normals import plane_normals, window_moments


@pytest.mark.parametrize("size", [(1, 1), (4, 30), (24, 9)])
def test_window_moments_equal_slow_sums(size):
    rng = np.random.default_rng(0)
    valid, q = (rng.random(size) < 0.7).astype(np.int32), rng.random(size)
    padding = ((10, 11), (10, 10))
    found = window_moments(np.pad(valid, padding), np.pad(q * valid, padding))
    v, u = np.indices(size)
    for radius, moments in zip((3, 10), found, strict=True):
        flat = [sums.reshape(size[0], -1)[:, : size[1]] for sums in moments]
        for y, x in np.ndindex(size):
            near = (abs(v - y) <= radius) & (abs(u - x) <= radius) & (valid == 1)
            du, dv, w = u[near] - x, v[near] - y, q[near]
            summands = (w * 0 + 1, du, dv, du * du, du * dv, dv * dv, w, du * w, dv * w)
            want = [total.sum() for total in summands]
            np.testing.assert_allclose([total[y, x] for total in flat], want, atol=1e-12)


def test_moments_survive_overflow_in_wide_images():
    valid = np.pad(np.ones((22, 12000), dtype=np.int32), ((10, 11), (10, 10)))
    _, coarse = window_moments(valid, valid / 2)
    at = 11 * 12020 + 11900  # 441 * 11900 ** 2 needs 36 bits
    squares = 21 * 2 * sum(d * d for d in range(11))
    assert [int(sums[at]) for sums in coarse[:6]] == [441, 0, 0, squares, 0, squares]


def test_normals_equal_least_squares_pixel_by_pixel():
    rng = np.random.default_rng(1)
    camera, size = CAMERA + np.diag([0, 1.0, 0]), (110, 35)  # more rows than in two bands
    z, missing = 300 + 20 * rng.random(size), rng.random(size) < 0.3
    found = plane_normals(z, missing, camera)
    ray, (v, u) = rays(*size, camera), np.indices(size)
    for radius, normals in zip((3, 10), found, strict=True):
        for y, x in [(0, 0), (47, 34), (48, 20), (50, 3), (95, 17), (97, 1), (109, 34)]:
            near = (abs(v - y) <= radius) & (abs(u - x) <= radius) & ~missing
            plane = np.linalg.lstsq(ray[:, near].T, 1 / z[near])[0]
            plane *= np.sign(plane @ ray[:, y, x]) / np.linalg.norm(plane)
            np.testing.assert_allclose(normals[:, y, x], plane, atol=1e-9)


def test_normals_point_away_even_if_the_plane_extends_behind_the_camera():
    columns = np.broadcast_to(np.arange(60), (50, 60))
    z = 100 / np.maximum(columns - 30, 1)  # extended to the left, 1 / z is below 0 there
    for normals in plane_normals(z, columns <= 30, CAMERA):
        facing = (normals * rays()).sum(axis=0)
        assert (facing[:, 29] > 0).all() and np.nanmin(facing) > -1e-9
