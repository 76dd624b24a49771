"""HHA: depth as three channels, disparity, height above ground and angle with gravity.

Source: Gupta et al., ECCV 2014, and their MATLAB release (s-gupta/rcnn-depth), as described
in HHA_SPEC.md; the reference nets were trained on its images. Internal lengths are centimetres.
"""

import logging
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fcnexp.data.normals import Array, plane_normals
from fcnexp.errors import DataError

log = logging.getLogger(__name__)

# RGB camera of NYUDv2, 640x480 frame, to which depth is registered. Source: NYUDv2 toolbox.
NYUD_INTRINSICS = np.array(
    [
        [518.85790117450188, 0.0, 325.58244941119034],
        [0.0, 519.46961112127485, 253.73616633400465],
        [0.0, 0.0, 1.0],
    ]
)
NYUD_INTRINSICS.setflags(write=False)
NYUD_CROP = (45, 40)  # first row and column of the 425x560 images, which exclude the white frame

_GRAVITY_STAGES = (45, 15)  # largest angle, degrees, from gravity (floor) or from level (wall)
_GRAVITY_STEPS = 5  # per stage
_SAME = 1e-9  # relative difference below which two eigenvalues count as equal
_LEVEL = 0.1  # degrees of tilt below which the camera counts as upright
_LOWEST_FLOOR = -90.0  # cm; if nothing is below it, the floor is out of view
_USUAL_FLOOR = -130.0  # and assumed here, under a hand-held camera
_NO_NORMAL = 218.0  # angle channel: MATLAB's max and min skip NaN, which gives 180 degrees
_MILLIMETRES = 50.0  # a larger median depth is not a room in metres
_CAMERA = "[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]"


def crop_intrinsics(intrinsics: ArrayLike, top: int, left: int) -> Array:
    """Intrinsics (3, 3) of an image without the `top` first rows and `left` first columns."""
    cropped = np.array(intrinsics, dtype=np.float64)
    cropped[:2, 2] -= left, top
    return cropped


def encode_hha(
    depth_m: np.ndarray, missing: NDArray[np.bool_] | None, intrinsics: ArrayLike
) -> NDArray[np.uint8]:
    """Disparity, height, angle, uint8 (H, W, 3): 31000 / cm, cm and degrees + 38, up to 255.

    depth_m (H, W) in metres, in-painted: height and disparity use all of it. missing (H, W): pixels
    excluded from normals, in addition to depths of 0. intrinsics (3, 3) of exactly this image; use
    `crop_intrinsics` for a crop. Raises DataError on other shapes, types and ranges.
    """
    depth_m = np.asarray(depth_m)
    missing = _checked_missing(depth_m, missing)
    intrinsics = _checked_intrinsics(intrinsics)
    z = depth_m.astype(np.float64) * 100.0
    fine, coarse = plane_normals(z, missing, intrinsics)
    down = gravity(coarse)
    hha = np.empty((*z.shape, 3), dtype=np.uint8)
    hha[..., 0] = _rounded(31000.0 / np.maximum(z, 100.0))
    hha[..., 1] = _rounded(heights(z, intrinsics, down))
    hha[..., 2] = _rounded(angles(fine, down))
    return hha


def gravity(normals: Array) -> Array:
    """Unit vector (3,) that points down: parallel to floor normals, orthogonal to wall normals.

    normals (3, H, W), NaN is ignored. Undetermined, it stays as it is, (0, 1, 0) at first:
    a lone wall leaves a circle of directions. Source: HHA_SPEC.md sec. 4.
    """
    normals = normals.reshape(3, -1)
    if np.isnan(normals[0]).any():
        normals = np.where(np.isnan(normals), 0.0, normals)
    down = np.array([0.0, 1.0, 0.0])
    # Walls count +1, floors and ceilings -1. Only the few normals that change sides are summed.
    scatter, signs = normals @ normals.T, np.ones(normals.shape[1], dtype=np.int8)
    if not scatter.any():
        _say_undetermined()
        return down
    for degrees in np.repeat(np.deg2rad(_GRAVITY_STAGES), _GRAVITY_STEPS):
        before = signs
        along = down @ normals
        np.abs(along, out=along)
        floors, walls = along > np.cos(degrees), along < np.sin(degrees)
        signs = walls.view(np.int8) - floors.view(np.int8)
        changed = np.flatnonzero(signs != before)
        moved = np.take(normals, changed, axis=1)
        scatter += moved * (signs[changed] - before[changed]) @ moved.T
        values, vectors = np.linalg.eigh(scatter)
        side = np.sign(vectors[:, 0] @ down)
        if side == 0 or values[1] - values[0] <= _SAME * np.abs(values).max():
            _say_undetermined()  # a multiple of `side` or any vector of a plane would be arbitrary
        else:
            down = vectors[:, 0] * side
    return down


@cache  # once in a process
def _say_undetermined() -> None:
    log.warning(
        "a depth image does not determine gravity, as with a single wall or steep floor; its HHA "
        "assumes that the camera was held upright (reported once)"
    )


def heights(z: Array, intrinsics: Array, down: Array) -> Array:
    """Height (H, W) in cm above the lowest point, or the assumed floor if it is out of view."""
    if np.degrees(np.arccos(min(down[1], 1.0))) <= _LEVEL:
        down = np.array([0.0, 1.0, 0.0])
    right = (np.arange(z.shape[1]) + 1 - intrinsics[0, 2]) / intrinsics[0, 0]
    below = (np.arange(z.shape[0]) + 1 - intrinsics[1, 2]) / intrinsics[1, 1]
    up = -((down[0] * right + down[2]) + (down[1] * below)[:, None])
    up *= z
    lowest = up.min()
    up -= lowest if lowest <= _LOWEST_FLOOR else _USUAL_FLOOR
    return up


def angles(normals: Array, down: Array) -> Array:
    """Angle (H, W) in degrees + 38 of normals (3, H, W): floor 38, wall 128, ceiling 218."""
    cosine = np.tensordot(down, normals, 1)
    np.clip(cosine, -1.0, 1.0, out=cosine)
    angle = np.degrees(np.arccos(cosine, out=cosine), out=cosine)
    angle += 128 - 90
    angle[np.isnan(angle)] = _NO_NORMAL
    return angle


def _rounded(channel: Array) -> NDArray[np.uint8]:
    """Round as MATLAB's uint8(): halves up (NumPy: to even), larger values to 255."""
    return (np.minimum(channel, 255.0, out=channel) + 0.5).astype(np.uint8)


def _checked_missing(depth: np.ndarray, missing: np.ndarray | None) -> NDArray[np.bool_]:
    """Mask (H, W) of pixels without measured depth. Raises DataError on invalid arguments."""
    if depth.ndim != 2 or depth.size == 0 or depth.dtype.kind not in "fiu":
        raise DataError(
            f"depth is {depth.dtype} of shape {depth.shape}; HHA needs one image of numbers, "
            "(H, W), in metres: encode images one by one, without a channel axis"
        )
    if missing is not None and (missing.dtype != bool or missing.shape != depth.shape):
        raise DataError(
            f"missing is {missing.dtype} of shape {missing.shape}, but depth has {depth.shape}; "
            "it must be a bool per pixel, True if raw depth is missing: try raw == 0, or None"
        )
    gone = depth == 0 if missing is None else missing | (depth == 0)
    if gone.all():
        raise DataError(
            f"depth is missing or 0 in all {depth.size} pixels; HHA needs some to fit planes to: "
            "check that missing is True for pixels without depth, not for those with depth"
        )
    _check_metres(depth, depth[~gone])
    return gone


def _check_metres(depth: np.ndarray, known: np.ndarray) -> None:
    """Raise DataError if a depth, measured or in-painted, cannot be in metres."""
    if not (depth.min() >= 0 and depth.max() < np.inf):
        wrong = np.count_nonzero(~(np.isfinite(depth) & (depth >= 0)))
        raise DataError(
            f"depth is NaN, infinite or negative in {wrong} of {depth.size} pixels; it must be in "
            "metres, 0 if unknown: try np.where(np.isfinite(depth) & (depth > 0), depth, 0)"
        )
    if 2 * np.count_nonzero(known > _MILLIMETRES) > known.size:  # faster than the median
        raise DataError(
            f"depth has a median of {np.median(known):g}, too large for metres; uint16 files "
            "usually hold millimetres: try depth / 1000.0"
        )


def _checked_intrinsics(intrinsics: ArrayLike) -> Array:
    """Intrinsics as float64 (3, 3). Raises DataError if they are not those of a camera."""
    camera = np.asarray(intrinsics, dtype=np.float64)
    if camera.shape != (3, 3) or not np.isfinite(camera).all():
        raise DataError(
            f"intrinsics are of shape {camera.shape}, {camera.tolist()}; they must be finite and "
            f"(3, 3): {_CAMERA}, such as NYUD_INTRINSICS"
        )
    if camera[0, 0] <= 0 or camera[1, 1] <= 0:
        raise DataError(
            f"intrinsics have focal lengths {camera[0, 0]:g} and {camera[1, 1]:g}; both must be in "
            f"pixels and above 0: {_CAMERA}"
        )
    if camera[[0, 1, 2, 2], [1, 0, 0, 1]].any() or camera[2, 2] != 1:
        raise DataError(
            f"intrinsics are {camera.tolist()}; they must be {_CAMERA}, without skew: transpose "
            "MATLAB intrinsics"
        )
    return camera
