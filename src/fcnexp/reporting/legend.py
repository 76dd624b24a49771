"""Which colour is which class: a strip to put under pictures of labels."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fcnexp.data.palette import voc_palette

GAP = 6  # pixels between the pictures of a sheet
WHITE = (255, 255, 255)
BLACK = (0, 0, 0)


def label_colours() -> np.ndarray:
    """Colour of each class index, uint8 (256, 3): VOC's, with void in white."""
    palette = voc_palette()
    palette[-1] = WHITE  # void, 255
    return palette


def legend(entries: Mapping[int, str], width: int, text: int) -> Image.Image:
    """Strip with a swatch and words for each class, in as many lines as they take.

    entries: words by class index. width: of the strip, pixels; it grows where one entry is wider.
    text: height of the letters, pixels.
    """
    line = text + text // 2
    font = ImageFont.load_default(size=text)
    widths = [font.getlength(words) + 2 * line for words in entries.values()]
    places, rows = _flow(widths, width)
    strip = Image.new("RGB", (max(width, GAP + int(max(widths, default=0))), rows * line), WHITE)
    draw = ImageDraw.Draw(strip)
    palette = label_colours()
    for (index, words), (x, row) in zip(entries.items(), places, strict=True):
        y = row * line
        red, green, blue = palette[index].tolist()
        draw.rectangle((x, y, x + text, y + text), fill=(red, green, blue), outline=BLACK)
        draw.text((x + line, y + text / 2), words, fill=BLACK, font=font, anchor="lm")
    return strip


def _flow(widths: Sequence[float], total: int) -> tuple[list[tuple[int, int]], int]:
    """Left edge and line of each of the entries, set one behind the other; number of lines."""
    places, x, row = [], GAP, 0
    for width in widths:
        if x > GAP and x + width > total:
            x, row = GAP, row + 1
        places.append((x, row))
        x += int(width)
    return places, row + 1
