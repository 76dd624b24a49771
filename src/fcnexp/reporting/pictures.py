"""Predictions as pictures: masks laid over photographs, and sheets of them."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fcnexp.data.palette import voc_palette
from fcnexp.labels import VOID

GAP = 6  # pixels between the pictures of a sheet
WHITE = (255, 255, 255)


def colour(label: np.ndarray) -> np.ndarray:
    """Label map uint8 (H, W) in VOC's colours, uint8 (H, W, 3); void is white."""
    palette = voc_palette()
    palette[VOID] = WHITE
    return palette[label]


def overlay(rgb: np.ndarray, label: np.ndarray, strength: float = 0.6) -> np.ndarray:
    """Photograph with its classes laid over, uint8 (H, W, 3); background and void stay clear.

    rgb: uint8 (H, W, 3). label: uint8 (H, W). strength: of the colours, in [0, 1].
    """
    mixed = (1 - strength) * rgb + strength * colour(label)
    shown = ((label != 0) & (label != VOID))[..., None]
    return np.where(shown, mixed, rgb).round().astype(np.uint8)


def sheet(rows: list[list[np.ndarray]], titles: tuple[str, ...]) -> Image.Image:
    """Pictures of different sizes in a table with a title over each column.

    rows: uint8 (H, W, 3) each; one row's pictures are of equal size.
    """
    widths = [max(row[i].shape[1] for row in rows) for i in range(len(titles))]
    heights = [row[0].shape[0] for row in rows]
    top = 16
    size = (sum(widths) + GAP * (len(widths) + 1), top + sum(heights) + GAP * (len(rows) + 1))
    page = Image.new("RGB", size, WHITE)
    draw = ImageDraw.Draw(page)
    y = top + GAP
    for row, height in zip(rows, heights, strict=True):
        x = GAP
        for picture, width in zip(row, widths, strict=True):
            page.paste(Image.fromarray(picture), (x, y))
            x += width + GAP
        y += height + GAP
    x = GAP
    for title, width in zip(titles, widths, strict=True):
        draw.text((x, 4), title, fill=(0, 0, 0))
        x += width + GAP
    return page


def write_panels(
    folder: Path, samples: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]
) -> None:
    """Write one sheet of image, truth, prediction and errors, and one picture per prediction.

    samples: id, rgb uint8 (H, W, 3), truth and prediction uint8 (H, W).
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, rgb, truth, prediction in samples:
        wrong = (prediction != truth) & (truth != VOID)
        errors = np.where(wrong[..., None], colour(prediction), (rgb * 0.4).astype(np.uint8))
        errors[truth == VOID] = WHITE
        rows.append([rgb, colour(truth), colour(prediction), errors])
        Image.fromarray(overlay(rgb, prediction)).save(folder / f"{name}.png")
    page = sheet(rows, ("image", "truth (void white)", "prediction", "wrong pixels"))
    page.save(folder / "sheet.png")
