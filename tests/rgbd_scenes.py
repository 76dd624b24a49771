"""Depth images with known surfaces: camera rays, and an empty room seen along them."""

import numpy as np

CAMERA = np.array([[80.0, 0, 30.3], [0, 82.0, 24.6], [0, 0, 1]])  # of images of 50 x 60
NOTHING = np.zeros((50, 60), dtype=bool)


def rays(height=50, width=60, camera=CAMERA):
    """(3, H, W) with z = 1; indices from 1, as in MATLAB."""
    v, u = np.mgrid[1.0 : height + 1, 1.0 : width + 1]
    fx, fy, cx, cy = camera[0, 0], camera[1, 1], camera[0, 2], camera[1, 2]
    return np.stack([(u - cx) / fx, (v - cy) / fy, np.ones_like(u)])


def tilted(pitch, roll):
    """Right, down and forward axes of the room in camera coordinates."""
    p, r = np.deg2rad([pitch, roll])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    lean = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return (nod @ lean).T


def room(ray, down, forward, *, above_floor, below_ceiling, to_wall):
    """Depth and surface index (0 floor, 1 ceiling, 2 wall) of an empty room, in any unit."""
    along, out = np.tensordot(down, ray, 1), np.tensordot(forward, ray, 1)
    with np.errstate(divide="ignore"):
        z = np.stack([above_floor / along, -below_ceiling / along, to_wall / out])
    z[z <= 0] = np.inf
    return z.min(axis=0), z.argmin(axis=0)


def far_from_edges(surface, which, reach):
    """Mask of pixels whose window contains only surface `which`."""
    padded = np.pad(surface, reach, constant_values=which)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1,) * 2)
    return (windows == which).all(axis=(2, 3))
