import numpy as np
import pytest

from fcnexp.data.generated.raycast import Ball, Box, Camera, Hollow, cast, intrinsics

AHEAD = np.array([[0.0], [1.0], [0.0]])


@pytest.mark.parametrize("pitch", [0.0, 0.3])
def test_floor_depth_is_height_over_slope_of_the_ray(pitch):
    camera = Camera((0.3, -1, 1.4), pitch=pitch)
    hall = Hollow(Box((0, 0, 25), (50, 50, 25)))
    depth = hall.meet(camera.origin, camera.rays((120, 160))).reshape(120, 160)
    # A level camera sees the floor at depth 1.4 focal / (rows below the axis).
    k = intrinsics((120, 160))
    below = (np.arange(90, 120) + 1 - k[1, 2]) / k[1, 1]
    expected = 1.4 / (np.sin(pitch) + below * np.cos(pitch))
    np.testing.assert_allclose(depth[90:], expected[:, None].repeat(160, 1), rtol=1e-12)


def test_ray_through_a_balls_centre_ends_one_radius_before_it():
    ball = Ball((0, 3, 1), 0.4)
    origin = np.array([[0.0], [0.0], [1.0]])
    assert ball.meet(origin, AHEAD)[0] == pytest.approx(2.6)
    assert ball.meet(origin, 2 * AHEAD)[0] == pytest.approx(1.3)  # in lengths of the ray
    grazing = AHEAD + [[0.999 * 0.4 / np.sqrt(9 - 0.4**2)], [0], [0]]
    assert ball.meet(origin, grazing)[0] < np.inf
    assert ball.meet(origin, -AHEAD)[0] == np.inf  # behind
    np.testing.assert_allclose(ball.skin(origin + 2.6 * AHEAD).normal, -AHEAD)


@pytest.mark.parametrize(
    ("yaw", "distance"),
    # At 45 degrees the ray hits the long side, 0.2 from the centre, at an angle.
    [(0, 3 - 0.5), (np.pi / 2, 3 - 0.2), (np.pi / 4, 3 - 0.2 * np.sqrt(2))],
)
def test_ray_hits_a_box_at_its_nearest_face(yaw, distance):
    box = Box((0, 3, 0), (0.2, 0.5, 1), yaw)
    met = box.meet(np.zeros((3, 1)), AHEAD)
    assert met[0] == pytest.approx(distance)
    slant = np.sin(np.pi / 4) if yaw == np.pi / 4 else 0
    np.testing.assert_allclose(
        np.abs(box.skin(met * AHEAD).normal[:, 0]), [slant, np.sqrt(1 - slant**2), 0], atol=1e-12
    )
    assert box.skin(met * AHEAD).normal[1, 0] < 0  # towards the camera
    assert box.meet(np.zeros((3, 1)), -AHEAD)[0] == np.inf


def test_boxes_agree_with_ray_marching():
    rng = np.random.default_rng(0)
    box, origin = Box((0.1, 2, 0.2), (0.5, 0.4, 0.3), 0.7), np.zeros((3, 1))
    rays = np.stack([rng.uniform(-0.5, 0.5, 200), np.ones(200), rng.uniform(-0.4, 0.4, 200)])
    steps = np.arange(0, 4, 1e-3)
    x, y, z = (rays[:, :, None] * steps) - np.array(box.centre)[:, None, None]
    u, v = np.cos(0.7) * x + np.sin(0.7) * y, np.cos(0.7) * y - np.sin(0.7) * x
    inside = (np.abs(u) < 0.5) & (np.abs(v) < 0.4) & (np.abs(z) < 0.3)
    marched = np.where(inside.any(1), steps[inside.argmax(1)], np.inf)
    deep = inside.sum(1) > 5  # marching may skip a corner
    np.testing.assert_allclose(box.meet(origin, rays)[deep], marched[deep], atol=1.1e-3)
    assert 40 < deep.sum() < 160 and np.isinf(box.meet(origin, rays)[~inside.any(1)]).mean() > 0.95


def test_nearest_body_is_seen():
    bodies = [Hollow(Box((0, 0, 0), (5, 5, 5))), Ball((0, 4, 0), 0.5), Box((0, 2, 0), (1, 0.5, 1))]
    distance, nearest = cast(np.zeros((3, 1)), np.hstack([AHEAD, -AHEAD]), bodies)
    assert distance.tolist() == [1.5, 5] and nearest.tolist() == [2, 0]


def test_camera_turns_left_down_and_keeps_its_axis_in_the_middle():
    middle = Camera((0, 0, 0), yaw=0.4, pitch=0.2, roll=0.1).rays((3, 5))[:, 7]
    level = np.cos(0.2)
    np.testing.assert_allclose(
        middle, [-level * np.sin(0.4), level * np.cos(0.4), -np.sin(0.2)], atol=1e-12
    )
    right = Camera((0, 0, 0)).rays((3, 5))[:, 8] - AHEAD[:, 0]
    np.testing.assert_allclose(right, [560 / (519 * 5), 0, 0], atol=1e-12)
