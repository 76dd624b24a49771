"""Random furnished rooms: the place, class and texture of every object. All lengths in metres.

Furniture, floor, walls and ceiling draw their textures (coats) from the same pool and differ by
shape; rug, picture and door have no thickness and differ from the surface below by colour alone.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from fcnexp.data.generated import textures
from fcnexp.data.generated.raycast import Ball, Body, Box, Camera, Hollow

FLOOR, WALL, CEILING, RUG, PICTURE, DOOR, TABLE, CRATE, CABINET, BALL = range(10)
CLASS_NAMES: tuple[str, ...] = (
    *("floor", "wall", "ceiling", "rug", "picture", "door"),
    *("table", "crate", "cabinet", "ball"),
)
# The kind of surface that each class is, for a second task on the same rooms.
SURFACES = ("floor", "wall", "ceiling", "object")
SURFACE_OF = (0, 1, 2, 0, 1, 1, 3, 3, 3, 3)
GRAIN = 32  # cells per side of a coat's grain

_LEFT, _RIGHT, _BACK, _BOTTOM, _TOP = 0, 1, 3, 4, 5  # faces of the room, numbered as in `Skin`


class Coat(NamedTuple):
    """A texture: two tones (2, 3) in a pattern along u and v.

    pattern: index into stripes, checks, dots; None for mottling by the grain. grain (GRAIN, GRAIN):
    brightness noise, repeated. rim: width of a sheet's border, coloured rim_tone.
    """

    tones: np.ndarray
    pattern: int | None
    period: float
    grain: np.ndarray
    rim: float
    rim_tone: np.ndarray


class Part(NamedTuple):
    """A body of one class."""

    body: Body
    class_index: int
    coat: Coat


class Sheet(NamedTuple):
    """A rectangle without thickness on a face of the room, rotated by `yaw` in its plane."""

    face: int
    centre: tuple[float, float]
    half: tuple[float, float]
    class_index: int
    coat: Coat
    yaw: float = 0.0


class Room(NamedTuple):
    """Parts, the shell first; sheets on the shell, the lowest first; camera and lamp."""

    parts: list[Part]
    sheets: list[Sheet]
    camera: Camera
    lamp: tuple[float, float, float]


def draw_room(rng: Generator) -> Room:
    """Draw a room, viewed from near its front wall and lit by a lamp below the ceiling."""
    x, y, z = rng.uniform((1.6, 1.8, 1.2), (2.7, 2.9, 1.45))  # half of 3-5 m, 4-6 m, 2.4-2.9 m
    shell = Box((0, 0, z), (x, y, z))
    place = (rng.uniform(-0.4, 0.4) * x, -y + rng.uniform(0.2, 0.8), rng.uniform(1.0, 1.75))
    pitch, roll = rng.uniform(-0.15, 0.45), rng.normal(0, 0.02)
    # Turned towards the middle, so that no side wall fills the image.
    yaw = 0.12 * place[0] + rng.normal(0, 0.25)
    floor, wall, ceiling = (_draw_coat(rng) for _ in range(3))
    if rng.random() < 0.2:
        ceiling = wall
    sheets = [
        Sheet(_BOTTOM, (0, 0), (x, y), FLOOR, floor),
        Sheet(_TOP, (0, 0), (x, y), CEILING, ceiling),
        *_draw_rug(rng, shell),
        *_hang(rng, shell),
    ]
    parts = [Part(Hollow(shell), WALL, wall), *_furnish(rng, shell, place[1], (floor, wall))]
    lamp = (rng.uniform(-0.6, 0.6) * x, rng.uniform(-0.7, 0.4) * y, 2 * z - rng.uniform(0.3, 0.8))
    return Room(parts, sheets, Camera(place, yaw, pitch, roll), lamp)


def _draw_coat(rng: Generator, rim: float = 0.0) -> Coat:
    """Draw a coat from the pool that all classes share; rim in metres."""
    hue, saturation, value = rng.uniform(), rng.uniform(0.05, 0.6), rng.uniform(0.5, 1)
    near = hue + rng.normal(0, 0.05), saturation + 0.1, value * rng.uniform(0.6, 0.9)
    tones = np.stack([textures.colour(hue, saturation, value), textures.colour(*near)])
    drawn = int(rng.integers(6))
    rim_tone = textures.colour(rng.uniform(), rng.uniform(0.1, 0.9), rng.uniform(0.2, 0.9))
    grain = rng.uniform(-1, 1, (GRAIN, GRAIN))
    pattern = drawn if drawn < 3 else None
    return Coat(tones, pattern, rng.uniform(0.12, 0.5), grain, rim, rim_tone)


def _draw_rug(rng: Generator, shell: Box) -> list[Sheet]:
    if rng.random() < 0.2:
        return []
    half = rng.uniform(0.7, 1.3), rng.uniform(0.5, 0.95)
    place = rng.uniform(-0.5, 0.5) * shell.half[0], rng.uniform(-0.2, 0.5) * shell.half[1]
    coat = _draw_coat(rng, rim=rng.uniform(0.06, 0.15))
    return [Sheet(_BOTTOM, place, half, RUG, coat, rng.uniform(0, math.pi))]


def _hang(rng: Generator, shell: Box) -> list[Sheet]:
    """Doors and pictures next to each other on the visible walls; v counts from half the height."""
    sheets: list[Sheet] = []
    for face in (_BACK, _LEFT, _RIGHT):
        width = shell.half[0 if face == _BACK else 1]
        edge = -width + rng.uniform(0.1, 0.8)
        while True:
            is_door = rng.random() < 0.4
            half_u = rng.uniform(0.4, 0.5) if is_door else rng.uniform(0.2, 0.6)
            half_v = rng.uniform(0.95, 1.05) if is_door else rng.uniform(0.2, 0.5)
            if edge + 2 * half_u > width - 0.1:
                break
            v = half_v if is_door else rng.uniform(1.35, 1.75)  # the middle's height
            coat = _draw_coat(rng, rim=rng.uniform(0.05, 0.09))
            kind = DOOR if is_door else PICTURE
            at = (edge + half_u, v - shell.half[2])
            sheets.append(Sheet(face, at, (half_u, half_v), kind, coat))
            edge += 2 * half_u + rng.uniform(0.3, 1.5)
    return sheets


class _Piece(NamedTuple):
    """A piece of furniture and the circle it occupies on the floor."""

    x: float
    y: float
    radius: float
    parts: list[Part]


def _furnish(rng: Generator, shell: Box, front: float, coats: tuple[Coat, Coat]) -> list[Part]:
    """Non-overlapping furniture at some distance from a camera at y = `front`."""
    pieces: list[_Piece] = []
    makers = (_cabinet, _table, _crate, _ball)
    for number in rng.choice(4, int(rng.integers(4, 9)), p=(0.25, 0.3, 0.25, 0.2)):
        # Half of it has the coat of the floor or wall, and differs from them by shape alone.
        coat = coats[rng.integers(2)] if rng.random() < 0.5 else _draw_coat(rng)
        for _ in range(8):
            x, y = rng.uniform(-1, 1) * shell.half[0], rng.uniform(front + 1.6, shell.half[1])
            new = makers[number](rng, shell, (x, y), coat)
            gaps = [math.hypot(new.x - p.x, new.y - p.y) - new.radius - p.radius for p in pieces]
            if min(gaps, default=1) > 0 and new.y - new.radius > front + 0.7:
                pieces.append(new)
                break
    return [part for piece in pieces for part in piece.parts]


def _cabinet(rng: Generator, shell: Box, at: tuple[float, float], coat: Coat) -> _Piece:
    """A box 1 to 2 m high with its back to a wall."""
    width, deep, high = rng.uniform((0.3, 0.18, 0.5), (0.6, 0.28, 1.0))
    x, y, yaw = at[0], shell.half[1] - deep, 0.0
    if rng.random() < 0.5:
        side = -1 if rng.random() < 0.5 else 1
        x, y, yaw = side * (shell.half[0] - deep), at[1], math.pi / 2
    body = Box((x, y, high), (width, deep, high), yaw)
    return _Piece(x, y, math.hypot(width, deep), [Part(body, CABINET, coat)])


def _table(rng: Generator, shell: Box, at: tuple[float, float], coat: Coat) -> _Piece:
    """A top on four legs, sometimes with a ball on it."""
    a, b, high = rng.uniform((0.4, 0.3, 0.6), (0.8, 0.5, 0.8))
    yaw, leg = rng.uniform(0, math.pi), rng.uniform(0.03, 0.05)
    stand_u, stand_v = a - leg - 0.01, b - leg - 0.01
    radius = math.hypot(a, b)
    x, y = _inside(shell, at, radius)
    boxes = [Box((x, y, high - 0.03), (a, b, 0.03), yaw)]
    # Legs end below the top and inside its sides: with two faces in one plane, rounding would
    # decide which is visible.
    half_leg = (high - 0.06) / 2
    for u, v in itertools.product((-stand_u, stand_u), (-stand_v, stand_v)):
        corner_x = x + math.cos(yaw) * u - math.sin(yaw) * v
        corner_y = y + math.sin(yaw) * u + math.cos(yaw) * v
        boxes.append(Box((corner_x, corner_y, half_leg), (leg, leg, half_leg), yaw))
    parts = [Part(box, TABLE, coat) for box in boxes]
    if rng.random() < 0.4:
        size = rng.uniform(0.1, 0.2)
        parts.append(Part(Ball((x, y, high + size), size), BALL, _draw_coat(rng)))
    return _Piece(x, y, radius, parts)


def _crate(rng: Generator, shell: Box, at: tuple[float, float], coat: Coat) -> _Piece:
    """A box no higher than a table, at a random angle."""
    a, b, high = rng.uniform(0.18, 0.38, 3)
    radius = math.hypot(a, b)
    x, y = _inside(shell, at, radius)
    body = Box((x, y, high), (a, b, high), rng.uniform(0, math.pi))
    return _Piece(x, y, radius, [Part(body, CRATE, coat)])


def _ball(rng: Generator, shell: Box, at: tuple[float, float], coat: Coat) -> _Piece:
    radius = rng.uniform(0.18, 0.42)
    x, y = _inside(shell, at, radius)
    return _Piece(x, y, radius, [Part(Ball((x, y, radius), radius), BALL, coat)])


def _inside(shell: Box, at: tuple[float, float], radius: float) -> tuple[float, float]:
    """The position, moved away from the walls by at least the radius."""
    x, y, _ = (max(0.0, half - radius) for half in shell.half)
    return min(max(at[0], -x), x), min(max(at[1], -y), y)
