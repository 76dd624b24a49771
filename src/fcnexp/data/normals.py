"""Surface normals from depth: those of the planes that fit the window around each pixel best.

Source: s-gupta/rgbdutils, as retold in HHA_SPEC.md sec. 3. A plane is linear in inverse depth,
1/z = across * column + down * row + offset, so that one least squares problem per pixel finds it.
Columns and rows count from the window's centre here, where the original has the pixels' rays: the
planes are the same, and all sums but those of 1/z are small whole numbers, free of rounding.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FINE = 7  # pixels along a window: half-window R = 3 of the original
COARSE = 21  # R = 10; three fine windows in a row, so that nine of them share their sums
MARGIN = COARSE // 2  # pixels beyond the image, all missing
# Rows worked on at a time, so that a band's arrays stay in a core's cache: measured on 425x560.
_BAND = 32


class Moments(NamedTuple):
    """Window sums over valid pixels, of columns u and rows v from the centre, and q = 1/z.

    The names are the summands, n is 1. Flat: pixel (row, column) is at row * (W + 20) + column,
    the 20 last of a row are of no use. Arrays that long take NumPy a quarter of the time that
    rows of W take, as it sees one row. Whole numbers are int32; those with q are float64.
    """

    n: np.ndarray
    u: np.ndarray
    v: np.ndarray
    uu: np.ndarray
    uv: np.ndarray
    vv: np.ndarray
    q: Array
    uq: Array
    vq: Array


class Planes(NamedTuple):
    """Planes, flat, each times a factor >= 0 of its own, which is 0 where there is none."""

    across: Array
    down: Array
    offset: Array
    factor: Array


def plane_normals(z: Array, missing: NDArray[np.bool_], intrinsics: Array) -> tuple[Array, Array]:
    """Unit normals (3, H, W) of the FINE and the COARSE windows; they point from the camera.

    z (H, W) > 0 where not missing, any unit; x right, y down, z forward. NaN where the window's
    pixels span no plane, as fewer than 3 or all on a line; the original has rounding noise there.
    """
    height, width = z.shape
    # One more row below, as a window's last pixel lies up to 20 columns beyond its first.
    valid = np.zeros((height + 2 * MARGIN + 1, width + 2 * MARGIN), dtype=np.int32)
    inverse = np.zeros(valid.shape)
    image = (slice(MARGIN, MARGIN + height), slice(MARGIN, MARGIN + width))
    valid[image] = ~missing
    np.divide(1.0, z, out=inverse[image], where=~missing)
    normals = np.empty((2, 3, height, width))
    for top in range(0, height, _BAND):
        rows = slice(top, top + _BAND + 2 * MARGIN + 1)
        for out, sums in zip(normals, window_moments(valid[rows], inverse[rows]), strict=True):
            _write_normals(out, _fit_planes(sums), top, intrinsics)
    return normals[0], normals[1]


def window_moments(valid: np.ndarray, inverse: Array) -> tuple[Moments, Moments]:
    """Moments of the FINE and the COARSE window around each pixel of H x W.

    valid, int32 0 or 1, and inverse, 0 where not valid, are (10 + H + 11, 10 + W + 10). Sums are
    few and short, without the rounding errors of running ones.
    """
    row = valid.shape[1]
    size = (len(valid) - 2 * MARGIN - 1) * row
    rows = np.arange(valid.shape[0], dtype=np.int32)[:, None]
    v = np.repeat(rows, row)
    u = np.tile(np.arange(row, dtype=np.int32), len(rows))
    valid_v = valid * rows
    fields = (valid, valid_v, valid_v * rows, inverse, inverse * rows)
    n, nv, nvv, q, qv = (_fine_sums(field.ravel(), row) for field in fields)
    u_, nu = u[: len(n)], n * u[: len(n)]
    products = (n, nu, nv, nu * u_, nv * u_, nvv, q, q * u_, qv)
    sums = [_fine_sums(product, 1) for product in products]
    corner = (MARGIN - FINE // 2) * (row + 1)  # of the fine window around the first pixel
    centre = MARGIN * (row + 1)
    fine = Moments(*(total[corner : corner + size] for total in sums))
    coarse = Moments(*(_coarse_sums(_coarse_sums(total, row), 1)[:size] for total in sums))
    u, v = u[centre : centre + size], v[centre : centre + size]
    return _centred(fine, u, v), _centred(coarse, u, v)


def _fine_sums(field: np.ndarray, step: int) -> np.ndarray:
    """Sums of FINE elements, `step` apart, from each on: 4 + 2 + 1 of them."""
    two = field[:-step] + field[step:]
    seven = two[: -5 * step] + two[2 * step : -3 * step]
    seven += two[4 * step : -step]
    seven += field[6 * step :]
    return seven


def _coarse_sums(fine: np.ndarray, step: int) -> np.ndarray:
    """Sums of COARSE elements, `step` apart, of sums of FINE ones."""
    coarse = fine[: -14 * step] + fine[7 * step : -7 * step]
    coarse += fine[14 * step :]
    return coarse


def _centred(sums: Moments, u: np.ndarray, v: np.ndarray) -> Moments:
    """The moments about each window's centre, column u and row v, of those about (0, 0).

    Whole numbers that overflow on the way, in images of thousands of pixels, come back by the
    subtraction, as int32 wraps round.
    """
    n, su, sv, suu, suv, svv, q, uq, vq = sums
    cu, cv = su - n * u, sv - n * v
    uu, vv = suu - (su + cu) * u, svv - (sv + cv) * v
    uv = suv - sv * u - cu * v
    return Moments(n, cu, cv, uu, uv, vv, q, uq - q * u, vq - q * v)


def _fit_planes(sums: Moments) -> Planes:
    """Least squares planes of the moments, times the determinant.

    The original solves by the adjugate too: the factor has no part in the normal.
    """
    n, u, v, uu, uv, vv, q, uq, vq = sums
    # n squared times variances: whole numbers, below 2 ** 31 for COARSE.
    suu, suv, svv = (
        (n * square - a * b).astype(float) for square, a, b in ((uu, u, u), (uv, u, v), (vv, v, v))
    )
    n, u, v = n.astype(float), u.astype(float), v.astype(float)
    suq, svq = n * uq - u * q, n * vq - v * q
    across = svv * suq - suv * svq
    down = suu * svq - suv * suq
    factor = suu * svv - suv * suv
    offset = factor * q - across * u - down * v
    across *= n
    down *= n
    return Planes(across, down, offset, factor)


def _write_normals(out: Array, planes: Planes, top: int, intrinsics: Array) -> None:
    """Unit normals into the rows of out (3, H, W) from top on, as many as the planes have."""
    across, down, offset, factor = (
        plane.reshape(-1, out.shape[2] + 2 * MARGIN) for plane in planes
    )
    # From the camera's axis, in pixels; + 1: MATLAB counts from 1.
    columns = np.arange(across.shape[1]) + 1 - intrinsics[0, 2]
    rows = (np.arange(top, top + len(across)) + 1 - intrinsics[1, 2])[:, None]
    forward = offset - across * columns - down * rows
    across = across * intrinsics[0, 0]
    down = down * intrinsics[1, 1]
    length = np.sqrt(across * across + down * down + forward * forward)
    np.copyto(length, np.nan, where=factor == 0)
    # offset has the sign of normal . point: the plane's 1/z where the window's own ray meets it.
    np.copysign(length, offset, out=length)
    for axis, part in enumerate((across, down, forward)):
        part /= length
        out[axis, top : top + len(part)] = part[:, : out.shape[2]]
