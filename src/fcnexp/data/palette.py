"""Class colours: VOC's colour map, and palette images on disk."""

from pathlib import Path

import numpy as np
from PIL import Image


def voc_palette(num_colours: int = 256) -> np.ndarray:
    """Colour of each class index in VOC's map, uint8 (num_colours, 3), RGB.

    Bits 0, 1, 2 of the index, taken in threes, go to R, G, B from the highest bit down, so that
    class 1 is (128, 0, 0) and VOID, 255, is (224, 224, 192).
    Source: the VOC development kit's colour map.
    """
    index = np.arange(num_colours)
    palette = np.zeros((num_colours, 3), np.uint8)
    for place in range(8):
        for channel in range(3):
            bit = (index >> (3 * place + channel)) & 1
            palette[:, channel] |= (bit << (7 - place)).astype(np.uint8)
    return palette


def save_indexed(path: Path, label: np.ndarray) -> None:
    """Write a label map, uint8 (H, W), as a palette PNG whose pixel values are class indices."""
    image = Image.fromarray(label)
    image.putpalette(voc_palette().tobytes())  # a single-channel image becomes a palette image
    image.save(path)
