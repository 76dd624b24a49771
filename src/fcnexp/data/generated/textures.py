"""Textures of the generated scenes: coloured noise, patterns, a table in front of a wall.

Maps are float32 (H, W) and images float32 (H, W, 3), RGB in [0, 1].
"""

import colorsys

import numpy as np
from numpy.random import Generator
from PIL import Image


def noise(rng: Generator, size: tuple[int, int], *, cell: tuple[float, float]) -> np.ndarray:
    """Smooth random map (H, W), about [-1, 1]; `cell` is the extent of a blob in pixels (y, x)."""
    height, width = size
    rows, columns = (
        max(2, round(extent / step) + 1) for extent, step in zip(size, cell, strict=True)
    )
    coarse = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def stripes(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    """Bars along v, soft-edged, in [-1, 1]; u and v in pixels."""
    del v
    return np.tanh(3 * np.sin(2 * np.pi * u / period))


def checks(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    """Chessboard, in [-1, 1]: bars along one axis times bars along the other."""
    return stripes(u, v, period) * stripes(v, u, period)


def dots(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    """Round spots on a square lattice, in [-1, 1]."""
    wave = np.cos(2 * np.pi * u / period) + np.cos(2 * np.pi * v / period)
    return np.tanh(3 * (wave - 0.7))


def colour(hue: float, saturation: float, value: float) -> np.ndarray:
    """RGB float32 (3,) of an HSV colour; the hue wraps around, the rest is clipped."""
    clipped = np.clip((saturation, value), 0, 1)
    return np.array(colorsys.hsv_to_rgb(hue % 1, *clipped), np.float32)


def two_toned(rng: Generator, pattern: np.ndarray, *, hue: float) -> np.ndarray:
    """Image (H, W, 3): bright where the pattern (H, W) is -1, darker and greyer where it is 1."""
    saturation, value = rng.uniform(0.3, 0.85), rng.uniform(0.5, 0.95)
    bright = colour(hue, saturation, value)
    hue, saturation = hue + rng.normal(0, 0.03), saturation - rng.uniform(0, 0.2)
    return blend(
        bright, colour(hue, saturation, value * rng.uniform(0.45, 0.65)), pattern / 2 + 0.5
    )


def blend(under: np.ndarray, over: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Image `over` blended onto `under` with alpha (H, W); either may be one colour (3,)."""
    return under + alpha[..., None] * (over - under)


def rotate(y: np.ndarray, x: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (u, v) of points (y, x) in axes rotated by `angle` radians."""
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * y + sin * x, cos * x - sin * y


def backdrop(rng: Generator, size: tuple[int, int]) -> np.ndarray:
    """Image (H, W, 3) of a grained table in front of a mottled wall, with clutter; background."""
    y, x = np.indices(size, dtype=np.float32)
    height, width = size
    wall = _surface(rng, size, cell=(30, 30), value=rng.uniform(0.55, 0.95))
    for _ in range(rng.integers(0, 3)):
        wall = _patch(rng, wall)
    table = _surface(rng, size, cell=(3, 40), value=rng.uniform(0.45, 0.85))
    edge = height * rng.uniform(0.15, 0.7) + rng.uniform(-0.12, 0.12) * (x - width / 2)
    scene = blend(wall, table, _cover(edge - y))
    scene *= 1 - 0.25 * np.exp(-np.abs(y - edge) / 3)[..., None]  # the crease between the two
    for _ in range(rng.integers(0, 4)):
        scene = _line(rng, scene)
    return scene


def photograph(rng: Generator, image: np.ndarray, light: float) -> np.ndarray:
    """Add uneven light, slight blur and noise, as a camera does; returns uint8 (H, W, 3)."""
    from scipy.ndimage import gaussian_filter  # slow to import

    height, width = image.shape[:2]
    y, x = np.indices((height, width), dtype=np.float32)
    slope = np.sin(light) * (y / height - 0.5) + np.cos(light) * (x / width - 0.5)
    image = image * (rng.uniform(0.9, 1.15) + rng.uniform(0.1, 0.5) * slope)[..., None]
    blur = rng.uniform(0.3, 0.8)
    image = gaussian_filter(image, (blur, blur, 0))
    image = image + rng.normal(0, rng.uniform(0.01, 0.04), image.shape)
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)


def _surface(
    rng: Generator, size: tuple[int, int], *, cell: tuple[float, float], value: float
) -> np.ndarray:
    """Muted colour with blotches of two neighbouring tones and a finer grain."""
    hue, saturation = rng.uniform(), rng.uniform(0.05, 0.4)
    tone = colour(hue, saturation, value)
    other = colour(hue + rng.normal(0, 0.06), saturation + 0.1, value * rng.uniform(0.65, 0.9))
    surface = blend(tone, other, 0.5 + 0.5 * noise(rng, size, cell=cell))
    return surface * (1 + 0.08 * noise(rng, size, cell=(4, 6)))[..., None]


def _patch(rng: Generator, scene: np.ndarray) -> np.ndarray:
    """Add a soft-edged, faintly patterned cloth to the scene, as a distracting texture."""
    height, width = scene.shape[:2]
    y, x = np.indices((height, width), dtype=np.float32)
    angle = rng.uniform(0, np.pi)
    u, v = rotate(y - height * rng.uniform(), x - width * rng.uniform(), angle)
    half_u, half_v = rng.uniform(0.1, 0.35, 2) * min(height, width)
    pattern = (stripes, checks, dots)[rng.integers(3)](u, v, rng.uniform(5, 14))
    tone = colour(rng.uniform(), rng.uniform(0.1, 0.6), rng.uniform(0.4, 0.85))
    cloth = blend(tone, tone * 0.75, 0.5 + 0.5 * rng.uniform(0.2, 0.8) * pattern)
    inside = np.maximum(np.abs(u) - half_u, np.abs(v) - half_v)
    return blend(scene, cloth, _cover(inside / rng.uniform(2, 6)) * rng.uniform(0.4, 0.9))


def _line(rng: Generator, scene: np.ndarray) -> np.ndarray:
    """Draw a thin straight line across the scene, like a wire or a crack."""
    height, width = scene.shape[:2]
    y, x = np.indices((height, width), dtype=np.float32)
    centre = height * rng.uniform(0.1, 0.9), width * rng.uniform(0.1, 0.9)
    across, _ = rotate(y - centre[0], x - centre[1], rng.uniform(0, np.pi))
    tone = colour(rng.uniform(), rng.uniform(0, 0.6), rng.uniform(0.15, 0.85))
    return blend(scene, tone, 0.8 * _cover(np.abs(across) - rng.uniform(0.4, 1.5)))


def _cover(distance: np.ndarray) -> np.ndarray:
    """Fraction of a pixel inside an edge, from the signed distance of its centre in pixels."""
    return np.clip(0.5 - distance, 0, 1)
