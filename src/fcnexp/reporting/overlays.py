"""Pictures of a prediction on one image: a full-size overlay, and a side-by-side view."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from fcnexp.reporting.pictures import GAP, WHITE, colour, legend, overlay

STRIP = 256  # rows blended at a time: blending needs 80 bytes per pixel
PANEL = 900  # longest side of a panel, pixels: three fit on a screen


def full_overlay(rgb: np.ndarray, label: np.ndarray) -> Image.Image:
    """Image blended with its class colours, at full size; see `pictures.overlay`.

    rgb: uint8 (H, W, 3). label: (H, W).
    """
    height, width = label.shape
    page = Image.new("RGB", (width, height))
    for top in range(0, height, STRIP):
        rows = slice(top, top + STRIP)
        page.paste(Image.fromarray(overlay(rgb[rows], label[rows])), (0, top))
    return page


def side_by_side(
    rgb: np.ndarray, label: np.ndarray, fractions: Mapping[int, float], names: Sequence[str]
) -> Image.Image:
    """Image, overlay and labels side by side, scaled down, with a legend.

    rgb: uint8 (H, W, 3). label: (H, W). fractions: of the image area by class index, in
    [0, 1], in legend order. names: of the classes.
    """
    small, classes = _scaled(rgb, label)
    height, width = classes.shape
    text = max(13, width // 45)
    entries = {i: f"{names[i]} {100 * fraction:.1f} %" for i, fraction in fractions.items()}
    key = legend(entries, 3 * width + 4 * GAP, text, classes=len(names))
    page = Image.new("RGB", (key.width, height + 3 * GAP + key.height), WHITE)
    for i, panel in enumerate((small, overlay(small, classes), colour(classes))):
        page.paste(Image.fromarray(panel), (GAP + i * (width + GAP), GAP))
    page.paste(key, (0, height + 2 * GAP))
    return page


def _scaled(rgb: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels scaled down to panel size; labels by nearest neighbour."""
    height, width = label.shape
    shrink = min(1.0, PANEL / max(height, width))
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    rows = np.minimum(np.arange(size[1]) / shrink, height - 1).astype(int)
    columns = np.minimum(np.arange(size[0]) / shrink, width - 1).astype(int)
    step = max(1, int(1 / shrink) // 2)  # avoids a copy of a 24-megapixel image
    thinned = Image.fromarray(np.ascontiguousarray(rgb[::step, ::step]))
    small = np.asarray(thinned.resize(size, Image.Resampling.LANCZOS))
    return small, label[rows[:, None], columns]
