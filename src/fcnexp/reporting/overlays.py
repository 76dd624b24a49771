"""A photograph beside what a net sees in it: colours laid over, and a picture for the eye."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from fcnexp.reporting.legend import GAP, WHITE, legend
from fcnexp.reporting.pictures import colour, overlay

STRIP = 256  # rows that are mixed at once: mixing takes 80 bytes per pixel
PANEL = 900  # pixels of a panel's longer side, at most: three go on a screen


def laid_over(rgb: np.ndarray, label: np.ndarray) -> Image.Image:
    """Photograph with its classes laid over, in full size; see `pictures.overlay`.

    rgb: uint8 (H, W, 3). label: uint8 (H, W).
    """
    height, width = label.shape
    page = Image.new("RGB", (width, height))
    for top in range(0, height, STRIP):
        rows = slice(top, top + STRIP)
        page.paste(Image.fromarray(overlay(rgb[rows], label[rows])), (0, top))
    return page


def beside(
    rgb: np.ndarray, label: np.ndarray, shares: Mapping[int, float], names: Sequence[str]
) -> Image.Image:
    """Photograph, overlay and labels side by side, scaled down, with a legend.

    rgb: uint8 (H, W, 3). label: uint8 (H, W). shares: of the picture, in [0, 1], by class, in the
    order of the legend. names: of the classes.
    """
    small, classes = _scaled(rgb, label)
    height, width = classes.shape
    text = max(13, width // 45)
    entries = {index: f"{names[index]} {100 * share:.1f} %" for index, share in shares.items()}
    key = legend(entries, 3 * width + 4 * GAP, text)
    page = Image.new("RGB", (key.width, height + 3 * GAP + key.height), WHITE)
    for i, panel in enumerate((small, overlay(small, classes), colour(classes))):
        page.paste(Image.fromarray(panel), (GAP + i * (width + GAP), GAP))
    page.paste(key, (0, height + 2 * GAP))
    return page


def _scaled(rgb: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both, no longer than a panel; classes are not mixed."""
    height, width = label.shape
    shrink = min(1.0, PANEL / max(height, width))
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    rows = np.minimum(np.arange(size[1]) / shrink, height - 1).astype(int)
    columns = np.minimum(np.arange(size[0]) / shrink, width - 1).astype(int)
    step = max(1, int(1 / shrink) // 2)  # a photograph of 24 million pixels is not copied
    photograph = Image.fromarray(np.ascontiguousarray(rgb[::step, ::step]))
    small = np.asarray(photograph.resize(size, Image.Resampling.LANCZOS))
    return small, label[rows[:, None], columns]
