"""The built-in data set `shapes`: generated still lifes, written in VOC's layout.

A scene places one to five objects on a backdrop. Disc and ring have the same colours and surface
and differ by shape, as do star and cross; striped and checked tiles differ by texture alone; worms
have any colour. Shapes are signed distances in pixels, negative inside, which give the anti-aliased
edge, the shading, the shadow, the label and its void outline.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from PIL import Image

from fcnexp import VOID
from fcnexp.data.generated import textures
from fcnexp.data.generated.cache import written_once
from fcnexp.data.palette import save_indexed
from fcnexp.errors import ConfigError

CLASS_NAMES: tuple[str, ...] = (
    *("background", "disc", "ring", "star", "cross", "striped_tile", "checked_tile", "worm"),
)
VERSION = 1  # increase it with every change of the pixels, so that old folders are not reused
SPLITS = ("train", "val")  # the index seeds the split's images: append only
MIN_SIDE = 48  # pixels; the smallest object would fill a smaller image

_MAX_OBJECTS = 5
_RADIUS = (0.12, 0.46)  # of a single object, relative to the image's shorter side


def write_shapes(
    root: Path, *, num_train: int, num_val: int, side: tuple[int, int], seed: int
) -> Path:
    """Return folder `root` with the data set in VOC's layout; write it unless complete.

    side: smallest and largest height and width of an image, in pixels.
    Image `index` of a split depends only on (seed, split, index, side).
    """
    _check(num_train, num_val, side)
    sizes = {"num_train": num_train, "num_val": num_val, "side": list(side)}
    made_from = {"version": VERSION, "seed": seed, **sizes}
    return written_once(root, made_from, "shapes", _write_all)


def scene(
    seed: int, split: str, index: int, side: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3), RGB, and label uint8 (H, W) of one scene."""
    rng = Generator(PCG64(SeedSequence([seed, SPLITS.index(split), index])))
    height, width = (int(extent) for extent in rng.integers(side[0], side[1] + 1, 2))
    image, label = textures.backdrop(rng, (height, width)), np.zeros((height, width), np.uint8)
    light = rng.uniform(0, 2 * np.pi)
    for thing in _arrange(rng, (height, width)):
        image = _paint(rng, image, label, thing, light)
    return textures.photograph(rng, image, light), label


class _Thing(NamedTuple):
    """One object of a scene: its class, position and radius in pixels."""

    class_index: int
    y: float
    x: float
    radius: float


class _Kind(NamedTuple):
    """Appearance of a class."""

    form: Callable[[np.ndarray, np.ndarray, float, Generator], np.ndarray]
    pattern: Callable[[np.ndarray, np.ndarray, float], np.ndarray] | None  # None: mottled
    hue: tuple[float, float]  # mean, standard deviation; 1 is the full colour circle
    reach: float  # relative radius: larger for thin forms, so that they stay visible


def _arrange(rng: Generator, size: tuple[int, int]) -> list[_Thing]:
    """Objects of a scene, back to front; they may overlap, but rarely hide each other."""
    things: list[_Thing] = []
    num_objects = int(rng.integers(1, _MAX_OBJECTS + 1))
    for _ in range(num_objects):
        class_index = int(rng.integers(1, len(CLASS_NAMES)))
        radius = min(size) * rng.uniform(*_RADIUS) * _KINDS[class_index].reach
        radius = max(6.0, radius * num_objects**-0.3)
        spots = (rng.uniform(0.08, 0.92, (6, 2)) * size).tolist()
        gaps = [
            min((np.hypot(y - t.y, x - t.x) - radius - t.radius for t in things), default=0)
            for y, x in spots
        ]
        y, x = spots[int(np.argmax(gaps))]
        things.append(_Thing(class_index, y, x, radius))
    return things


def _paint(
    rng: Generator, image: np.ndarray, label: np.ndarray, thing: _Thing, light: float
) -> np.ndarray:
    """Return the image with the object and its shadow; write its class and outline to `label`."""
    from scipy.ndimage import shift  # slow to import

    kind = _KINDS[thing.class_index]
    pixels = np.indices(label.shape, dtype=np.float32)
    y, x = pixels[0] - thing.y, pixels[1] - thing.x
    u, v = textures.rotate(y, x, rng.uniform(0, 2 * np.pi))
    distance = kind.form(u, v, thing.radius, rng)
    if kind.pattern is None:
        pattern = textures.noise(rng, label.shape, cell=(5, 5))
    else:
        period = np.clip(0.4 * thing.radius, 6, 11) * rng.uniform(0.85, 1.15)
        pattern = kind.pattern(u + rng.uniform(0, 9), v + rng.uniform(0, 9), period)
    surface = textures.two_toned(rng, pattern, hue=rng.normal(*kind.hue))
    light_y, light_x = np.sin(light), np.cos(light)
    slope = (light_y * y + light_x * x) / thing.radius
    bevel = np.exp(np.minimum(distance, 0) / 2.5)
    surface *= (1 + 0.18 * slope - 0.3 * bevel)[..., None]
    thrown = shift(distance, (-3 * light_y, -3 * light_x), order=1, mode="nearest")
    image = image * (1 - 0.45 * np.clip(0.5 - thrown / 6, 0, 1))[..., None]  # the shadow
    label[distance < 0] = thing.class_index
    # Void separates any two classes, since distances change by at most 1 per pixel.
    label[np.abs(distance) <= 1] = VOID
    return textures.blend(image, surface, np.clip(0.5 - distance, 0, 1))


def _disc(u: np.ndarray, v: np.ndarray, radius: float, _: Generator) -> np.ndarray:
    return np.hypot(u, v) - radius


def _ring(u: np.ndarray, v: np.ndarray, radius: float, rng: Generator) -> np.ndarray:
    half = max(2.0, radius * rng.uniform(0.14, 0.24))
    return np.abs(np.hypot(u, v) - (radius - half)) - half


def _box(u: np.ndarray, v: np.ndarray, half_u: float, half_v: float) -> np.ndarray:
    du, dv = np.abs(u) - half_u, np.abs(v) - half_v
    return np.hypot(np.maximum(du, 0), np.maximum(dv, 0)) + np.minimum(np.maximum(du, dv), 0)


def _cross(u: np.ndarray, v: np.ndarray, radius: float, rng: Generator) -> np.ndarray:
    half = max(2.0, radius * rng.uniform(0.18, 0.28))
    return np.minimum(_box(u, v, radius, half), _box(u, v, half, radius))


def _tile(u: np.ndarray, v: np.ndarray, radius: float, rng: Generator) -> np.ndarray:
    corner = 0.15 * radius
    half_u, half_v = radius * rng.uniform(0.6, 0.85, 2) - corner
    return _box(u, v, half_u, half_v) - corner


def _star(u: np.ndarray, v: np.ndarray, radius: float, rng: Generator) -> np.ndarray:
    """A five-pointed star, by symmetry from one straight edge between a tip and a notch."""
    step = np.pi / 5
    angle = np.abs((np.arctan2(v, u) + step) % (2 * step) - step)  # 0 at a tip, step at a notch
    along, across = np.hypot(u, v) * np.cos(angle), np.hypot(u, v) * np.sin(angle)
    notch = radius * rng.uniform(0.42, 0.55)
    edge_u, edge_v = notch * np.cos(step) - radius, notch * np.sin(step)
    share = ((along - radius) * edge_u + across * edge_v) / (edge_u**2 + edge_v**2)
    share = np.clip(share, 0, 1)
    gap = np.hypot(along - radius - share * edge_u, across - share * edge_v)
    return gap * np.sign(edge_u * -across + edge_v * (along - radius))


def _worm(u: np.ndarray, v: np.ndarray, radius: float, rng: Generator) -> np.ndarray:
    """A wavy tube: the distance to a polyline, minus the tube's half width."""
    half = np.clip(radius * rng.uniform(0.1, 0.15), 2, 5)
    along = np.linspace(-1, 1, 13)
    wave = np.sin(along * rng.uniform(2.5, 4.5) + rng.uniform(0, 2 * np.pi))
    points = np.stack([radius * along, radius * rng.uniform(0.25, 0.4) * wave], 1)
    nearest = np.full_like(u, np.inf)
    for (u0, v0), (du, dv) in zip(points, np.diff(points, axis=0), strict=False):
        share = np.clip(((u - u0) * du + (v - v0) * dv) / (du * du + dv * dv), 0, 1)
        nearest = np.minimum(nearest, (u - u0 - share * du) ** 2 + (v - v0 - share * dv) ** 2)
    return np.sqrt(nearest) - half


_WARM, _GOLDEN, _COLD, _ANY = (0.02, 0.08), (0.14, 0.08), (0.6, 0.1), (0.4, 0.25)
_KINDS: dict[int, _Kind] = {
    1: _Kind(_disc, None, _WARM, 0.85),
    2: _Kind(_ring, None, _WARM, 1.2),
    3: _Kind(_star, textures.dots, _GOLDEN, 1.25),
    4: _Kind(_cross, textures.dots, _GOLDEN, 1.2),
    5: _Kind(_tile, textures.stripes, _COLD, 1.1),
    6: _Kind(_tile, textures.checks, _COLD, 1.1),
    7: _Kind(_worm, None, _ANY, 1.5),
}


def _write_all(folder: Path, made_from: dict[str, Any]) -> None:
    folders = ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")
    images, labels, lists = (folder / name for name in folders)
    for made in (images, labels, lists):
        made.mkdir(parents=True)
    for split in SPLITS:
        names = [f"{split}_{index:04d}" for index in range(made_from[f"num_{split}"])]
        for index, name in enumerate(names):
            image, label = scene(made_from["seed"], split, index, made_from["side"])
            Image.fromarray(image).save(images / f"{name}.jpg", quality=92)
            save_indexed(labels / f"{name}.png", label)
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))


def _check(num_train: int, num_val: int, side: tuple[int, int]) -> None:
    if min(num_train, num_val) < 1:
        raise ConfigError(
            f"shapes: num_train={num_train}, num_val={num_val}: each must be 1 or more; "
            "try num_train=500 num_val=60"
        )
    if not MIN_SIDE <= side[0] <= side[1]:
        raise ConfigError(
            f"shapes: side={tuple(side)}: must be (smallest, largest), {MIN_SIDE} pixels or more; "
            "try side=[112,144]"
        )
