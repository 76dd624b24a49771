"""A photograph beside what a net sees in it: colours laid over, and a picture for the eye."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fcnexp.reporting.pictures import GAP, WHITE, colour, overlay

STRIP = 256  # rows that are mixed at once: mixing takes 80 bytes per pixel
PANEL = 900  # pixels of a panel's longer side, at most: three go on a screen
BLACK = (0, 0, 0)


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
    line = text + text // 2
    entries = [(index, f"{names[index]} {100 * share:.1f} %") for index, share in shares.items()]
    page_width = 3 * width + 4 * GAP
    font = ImageFont.load_default(size=text)
    places, rows = _flow([font.getlength(words) + 2 * line for _, words in entries], page_width)
    page = Image.new("RGB", (page_width, height + 2 * GAP + rows * line + GAP), WHITE)
    draw = ImageDraw.Draw(page)
    for i, panel in enumerate((small, overlay(small, classes), colour(classes))):
        page.paste(Image.fromarray(panel), (GAP + i * (width + GAP), GAP))
    palette = colour(np.arange(256, dtype=np.uint8))
    for (index, words), (x, row) in zip(entries, places, strict=True):
        y = height + 2 * GAP + row * line
        red, green, blue = palette[index].tolist()
        draw.rectangle((x, y, x + text, y + text), fill=(red, green, blue), outline=BLACK)
        draw.text((x + line, y + text / 2), words, fill=BLACK, font=font, anchor="lm")
    return page


def _flow(widths: Sequence[float], total: int) -> tuple[list[tuple[int, int]], int]:
    """Left edge and line of each of the entries, set one behind the other; number of lines."""
    places, x, row = [], GAP, 0
    for width in widths:
        if x > GAP and x + width > total:
            x, row = GAP, row + 1
        places.append((x, row))
        x += int(width)
    return places, row + 1


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
