"""Ray casting of boxes and balls: exact distances, normals and surface coordinates.

World coordinates are metres, x and y horizontal, z up. Points and rays are float64 (3, P).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

NYUD_FOCAL, NYUD_WIDTH = 519.0, 560  # pixels; HHA_SPEC sec. 1, rounded, of the cropped frame


class Skin(NamedTuple):
    """A body's surface at some of its points.

    normal (3, P): unit, on the visible side. u, v (P,): metres along the surface.
    face int (P,): twice the axis of a box's face, plus 1 on the positive side.
    """

    normal: np.ndarray
    u: np.ndarray
    v: np.ndarray
    face: np.ndarray


class Body(Protocol):
    """Anything that a ray can hit."""

    def meet(self, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
        """Distance (P,), in lengths of each ray, to the first hit; inf if there is none."""
        ...

    def skin(self, points: np.ndarray) -> Skin:
        """The surface at points on it."""
        ...


class Box(NamedTuple):
    """A solid box, rotated about the vertical by `yaw` radians; half: half side lengths."""

    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    yaw: float = 0.0

    def meet(self, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
        """Distance (P,) to the outside; inf for a ray that starts within."""
        distance = np.full(rays.shape[1], np.inf)
        # Most rays miss the ball around the box; skipping them halves the time for a room.
        close = _passes(self.centre, math.hypot(*self.half), origin, rays)
        origin = origin if origin.shape[1] == 1 else origin[:, close]
        near, far = _slabs(self, origin, rays[:, close])
        distance[close] = np.where((near <= far) & (near > 0), near, np.inf)
        return distance

    def skin(self, points: np.ndarray) -> Skin:
        """The outside; u, v count from the middle of each face."""
        local = _turned(points - _column(self.centre), -self.yaw)
        # The face whose plane is nearest to the point, relative to the box.
        axis = np.argmax(np.abs(local / _column(self.half)), 0)
        positive = np.take_along_axis(local, axis[None], 0)[0] > 0
        normal = np.zeros_like(local)
        np.put_along_axis(normal, axis[None], np.where(positive, 1.0, -1.0)[None], 0)
        u, v = np.where(axis == 0, local[1], local[0]), np.where(axis == 2, local[1], local[2])
        return Skin(_turned(normal, self.yaw), u, v, 2 * axis + positive)


class Hollow(NamedTuple):
    """The inside of a box, seen from within: floor, walls and ceiling."""

    box: Box

    def meet(self, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
        """Distance (P,) to the inside, from within."""
        return _slabs(self.box, origin, rays)[1]

    def skin(self, points: np.ndarray) -> Skin:
        """The inside: normals point inwards, faces are numbered as from outside."""
        skin = self.box.skin(points)
        return skin._replace(normal=-skin.normal)


class Ball(NamedTuple):
    """A solid ball."""

    centre: tuple[float, float, float]
    radius: float

    def meet(self, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
        """Distance (P,) to the outside; inf for a ray that starts within."""
        offset = origin - _column(self.centre)
        square, half = (rays * rays).sum(0), (rays * offset).sum(0)
        root = half * half - square * ((offset * offset).sum(0) - self.radius**2)
        near = (-half - np.sqrt(np.maximum(root, 0))) / square
        return np.where((root >= 0) & (near > 0), near, np.inf)

    def skin(self, points: np.ndarray) -> Skin:
        """The outside; u along the equator, v upwards; face 0."""
        normal = (points - _column(self.centre)) / self.radius
        u = self.radius * np.arctan2(normal[1], normal[0])
        v = self.radius * np.arcsin(np.clip(normal[2], -1, 1))
        return Skin(normal, u, v, np.zeros(len(u), int))


class Camera(NamedTuple):
    """A camera at a place in metres: yaw to the left of +y, pitch downwards, roll, in radians."""

    place: tuple[float, float, float]
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    @property
    def origin(self) -> np.ndarray:
        """The position as a column, (3, 1)."""
        return _column(self.place)

    def rays(self, size: tuple[int, int], samples: int = 1) -> np.ndarray:
        """World directions (3, H s W s) through s x s points of each pixel, row by row.

        Each reaches one metre forwards, so distances in ray lengths are depths in metres.
        """
        height, width = size
        # Pixels count from 1, as in `intrinsics`; the points are spaced evenly within each.
        u, v = ((np.arange(n * samples) + 0.5) / samples + 0.5 for n in (width, height))
        v, u = np.meshgrid(v, u, indexing="ij")
        k = intrinsics(size)
        across, down = (u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1]
        seen = np.stack([across, down, np.ones_like(u)]).reshape(3, -1)
        cos, sin = np.cos(self.pitch), np.sin(self.pitch)
        right_down_forward = np.array([[1, 0, 0], [0, -sin, cos], [0, -cos, -sin]])
        return _turned(right_down_forward @ _turned(seen, self.roll), self.yaw)


def intrinsics(size: tuple[int, int]) -> np.ndarray:
    """Matrix (3, 3) of a centred camera with NYUD's field of view; pixels count from 1."""
    height, width = size
    focal = NYUD_FOCAL * width / NYUD_WIDTH
    return np.array([[focal, 0, (width + 1) / 2], [0, focal, (height + 1) / 2], [0, 0, 1]])


def cast(
    origin: np.ndarray, rays: np.ndarray, bodies: Sequence[Body]
) -> tuple[np.ndarray, np.ndarray]:
    """Distance (P,) to the nearest body and its index, int (P,)."""
    distance, nearest = np.full(rays.shape[1], np.inf), np.zeros(rays.shape[1], int)
    for number, body in enumerate(bodies):
        found = body.meet(origin, rays)
        closer = found < distance
        distance[closer], nearest[closer] = found[closer], number
    return distance, nearest


def _slabs(box: Box, origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances (P,) at which each ray has entered all three slabs of the box, and leaves one."""
    start = _turned(origin - _column(box.centre), -box.yaw)
    along = _turned(rays, -box.yaw)
    along[np.abs(along) < 1e-12] = 1e-12  # parallel: exits the slab far away
    inverse = 1 / along
    middle, reach = -start * inverse, np.abs(_column(box.half) * inverse)
    return (middle - reach).max(0), (middle + reach).min(0)


def _passes(
    centre: tuple[float, float, float], radius: float, origin: np.ndarray, rays: np.ndarray
) -> np.ndarray:
    """Indices of the rays whose line passes within `radius` of a point."""
    offset = np.broadcast_to(_column(centre) - origin, rays.shape)
    along, square, apart = (
        np.einsum("ip,ip->p", one, other)
        for one, other in ((rays, offset), (rays, rays), (offset, offset))
    )
    return np.flatnonzero((apart - radius**2) * square <= along * along)


def _turned(points: np.ndarray, angle: float) -> np.ndarray:
    """Points (3, P) rotated about the third axis, from the first towards the second."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y, z = points
    return np.stack([cos * x - sin * y, sin * x + cos * y, z])


def _column(values: tuple[float, float, float]) -> np.ndarray:
    return np.array(values, float)[:, None]
