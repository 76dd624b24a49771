"""Surface normals from depth: least squares planes in the window around each pixel.

Source: s-gupta/rgbdutils, as described in HHA_SPEC.md sec. 3. A plane is linear in inverse depth,
1/z = across * column + down * row + offset, so each pixel needs one least squares fit. The original
uses the pixels' rays; here columns and rows count from the window's centre. The planes are the
same, and all sums except those of 1/z are small whole numbers without rounding errors.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FINE = 7  # pixels along a window: half-window R = 3 of the original
COARSE = 21  # R = 10; three fine windows in a row, so sums of nine fine windows are reused
MARGIN = COARSE // 2  # padding in pixels, all missing
# Rows processed together, so that their arrays stay in a core's cache: measured on 425x560.
_BAND = 32


class Moments(NamedTuple):
    """Window sums over valid pixels, of columns u and rows v from the centre, and q = 1/z.

    The names are the summands, n is 1. Flat: pixel (row, column) is at row * (W + 20) + column,
    and the last 20 of a row are unused. NumPy takes a quarter of the time for such a single long
    row. Whole numbers are int32; those with q are float64.
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
    """Flat arrays of planes, each multiplied by its own factor >= 0, which is 0 without a plane."""

    across: Array
    down: Array
    offset: Array
    factor: Array


def plane_normals(z: Array, missing: NDArray[np.bool_], intrinsics: Array) -> tuple[Array, Array]:
    """Unit normals (3, H, W) of the FINE and the COARSE windows, pointing away from the camera.

    z (H, W) > 0 unless missing, any unit; x right, y down, z forward. NaN if the window's pixels
    span no plane (fewer than 3, or all on a line), for which the original has rounding noise.
    """
    height, width = z.shape
    # One more row below: in flat arrays a window ends up to 20 columns after its first pixel.
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

    valid, int32 0 or 1, and inverse, 0 if not valid, are (10 + H + 11, 10 + W + 10). Few short
    sums avoid the rounding errors of running sums.
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
    """Sums of FINE elements, `step` apart, starting at each element: 4 + 2 + 1 of them."""
    two = field[:-step] + field[step:]
    seven = two[: -5 * step] + two[2 * step : -3 * step]
    seven += two[4 * step : -step]
    seven += field[6 * step :]
    return seven


def _coarse_sums(fine: np.ndarray, step: int) -> np.ndarray:
    """Sums of COARSE elements, `step` apart, from sums of FINE ones."""
    coarse = fine[: -14 * step] + fine[7 * step : -7 * step]
    coarse += fine[14 * step :]
    return coarse


def _centred(sums: Moments, u: np.ndarray, v: np.ndarray) -> Moments:
    """Moments about each window's centre, column u and row v, from those about (0, 0).

    Intermediate int32 sums may overflow in images of thousands of pixels; as int32 wraps around,
    the subtraction restores them.
    """
    n, su, sv, suu, suv, svv, q, uq, vq = sums
    cu, cv = su - n * u, sv - n * v
    uu, vv = suu - (su + cu) * u, svv - (sv + cv) * v
    uv = suv - sv * u - cu * v
    return Moments(n, cu, cv, uu, uv, vv, q, uq - q * u, vq - q * v)


def _fit_planes(sums: Moments) -> Planes:
    """Least squares planes of the moments, multiplied by the determinant.

    The original uses the adjugate too: the factor does not affect the normal.
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
    """Write unit normals into out (3, H, W), from row `top` on, for as many rows as planes has."""
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
    # offset, the plane's 1/z along the central ray, has the sign of normal . point.
    np.copysign(length, offset, out=length)
    for axis, part in enumerate((across, down, forward)):
        part /= length
        out[axis, top : top + len(part)] = part[:, : out.shape[2]]
