"""The page on which `explain layer=...` draws: cells, lines, numbers, maps of numbered cells."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont

CANVAS = (2000, 1500)  # pixels, holds 600 cells of width 3; white margins are cropped
MARGIN, TITLE = 28, 16  # pixels: page margin, size of titles
SMOOTH = 2  # the page is drawn this many times larger and then averaged: Pillow does not antialias

# Okabe and Ito's colours, which colour-blind readers tell apart, and tints of them.
MARKED, MARKED_PALE, WINDOW = (230, 159, 0), (252, 236, 204), (86, 180, 233)
INPUT, OUTPUT = (214, 232, 245), (226, 226, 226)
MARKED_LINE, LINE = (213, 94, 0), (172, 172, 172)
PADDING, WHITE, INK = (244, 244, 244), (255, 255, 255), (40, 40, 40)

Colour = tuple[int, int, int]
Point = tuple[float, float]  # pixels from the left and from the top
font = cache(ImageFont.load_default)  # by size


class Page:
    """White page for drawing, in pixels from its top left corner."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (CANVAS[0] * SMOOTH, CANVAS[1] * SMOOTH), WHITE)
        self.draw = ImageDraw.Draw(self.image)

    def cell(self, x: float, y: float, w: float, h: float, fill: Colour) -> None:
        """Draw a cell with its top left corner at (x, y); small cells get a pale edge or none."""
        edge = LINE if fill == PADDING or min(w, h) < 13 else INK
        box = tuple(round(v * SMOOTH) for v in (x, y, x + w, y + h))
        self.draw.rectangle(box, fill, edge if min(w, h) >= 6 else None, SMOOTH)

    def line(self, points: Sequence[float], colour: Colour, width: float = 1) -> None:
        """Draw straight lines through the points x, y, x, y, ..."""
        self.draw.line([v * SMOOTH for v in points], colour, round(width * SMOOTH))

    def frame(self, x: float, y: float, size: float, colour: Colour) -> None:
        """Draw a square frame with its top left corner at (x, y)."""
        self.line((x, y, x + size, y, x + size, y + size, x, y + size, x, y - 1), colour, 2)

    def arrow(self, *points: float) -> None:
        """Draw a line through the points x, y, x, y, ... that ends in a head pointing right."""
        x, y = points[-2:]
        self.line((*points[:-2], x - 5, y), INK, 1.5)
        head = [(x, y), (x - 10, y - 5), (x - 10, y + 5)]
        self.draw.polygon([(a * SMOOTH, b * SMOOTH) for a, b in head], INK)

    def text(self, x: float, y: float, text: str, size: int = 14, anchor: str = "lm") -> None:
        """Write text with the middle of its left end at (x, y)."""
        self.draw.text((x * SMOOTH, y * SMOOTH), text, INK, font(size * SMOOTH), anchor)

    def number(self, x: float, y: float, text: str, room: float) -> None:
        """Write text centred at (x, y) in the largest size that fits; nothing if none does."""
        fitting = [s for s in (14, 12, 10, 8) if font(s).getlength(text) <= room - 3]
        if fitting:
            self.text(x, y, text, fitting[0], "mm")

    def square(
        self, at: Point, side: float, fills: np.ndarray, title: str, numbers: object = ""
    ) -> None:
        """Draw a titled map of square cells; fills: uint8 (n, n, 3); numbers: (n, n) or one."""
        self.text(at[0], at[1] - TITLE, title, TITLE)
        texts = np.broadcast_to(np.array(numbers).astype(str), fills.shape[:2])
        for r, c in np.ndindex(fills.shape[:2]):
            x, y = at[0] + c * side, at[1] + r * side
            self.cell(x, y, side, side, tuple(fills[r, c].tolist()))
            if side > 10:
                self.number(x + side / 2, y + side / 2, str(texts[r, c]), side)

    def write(self, path: Path) -> None:
        """Write the page as a PNG, cropped to its content."""
        small = self.image.reduce(SMOOTH)
        drawn = ImageChops.difference(small, Image.new("RGB", small.size, WHITE)).getbbox()
        assert drawn is not None
        small.crop((0, 0, drawn[2] + MARGIN, drawn[3] + MARGIN)).save(path)


def uniform(n: int, fill: Colour) -> np.ndarray:
    """Map of n x n cells in one colour, uint8 (n, n, 3)."""
    return np.full((n, n, 3), fill, np.uint8)
