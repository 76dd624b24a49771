"""Predictions as pictures: masks laid over photographs, and sheets of them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fcnexp import VOID
from fcnexp.data.sample import Sample
from fcnexp.reporting.grid import IMAGE, PANELS, PREDICTION, TRUTH
from fcnexp.reporting.legend import GAP, WHITE, label_colours, legend
from fcnexp.system.atomic import whole

PANEL_SIDE = 500  # pixels, of VOC's photographs


def colour(label: np.ndarray) -> np.ndarray:
    """Label map uint8 (H, W) in VOC's colours, uint8 (H, W, 3); void is white."""
    return label_colours()[label]


def overlay(rgb: np.ndarray, label: np.ndarray, strength: float = 0.6) -> np.ndarray:
    """Photograph with its classes laid over, uint8 (H, W, 3); background and void stay clear.

    rgb: uint8 (H, W, 3). label: uint8 (H, W). strength: of the colours, in [0, 1].
    """
    mixed = (1 - strength) * rgb + strength * colour(label)
    shown = ((label != 0) & (label != VOID))[..., None]
    return np.where(shown, mixed, rgb).round().astype(np.uint8)


def sheet(
    rows: list[list[np.ndarray]], titles: tuple[str, ...], class_names: Sequence[str]
) -> Image.Image:
    """Pictures of different sizes in a table, a title over each column, the classes below.

    rows: uint8 (H, W, 3) each; one row's pictures are of equal size.
    """
    widths = [max(row[i].shape[1] for row in rows) for i in range(len(titles))]
    heights = [row[0].shape[0] for row in rows]
    text = max(10, min(widths) // 12)  # pixels high
    top = text + GAP
    font = ImageFont.load_default(size=text)
    width = sum(widths) + GAP * (len(widths) + 1)
    key = legend({**dict(enumerate(class_names)), VOID: "void"}, width, text)
    height = top + sum(heights) + GAP * (len(rows) + 1)
    page = Image.new("RGB", (key.width, height + key.height), WHITE)
    page.paste(key, (0, height))
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
        draw.text((x, GAP // 2), title, fill=(0, 0, 0), font=font)
        x += width + GAP
    return page


def thumbnail(picture: np.ndarray, side: int = 240) -> np.ndarray:
    """Picture uint8 (H, W, 3), scaled down so that no side is longer; colours are not mixed."""
    step = max(1, -(-max(picture.shape[:2]) // side))
    return picture[::step, ::step]


def draw_predictions(
    prediction_of: Callable[[str, dict[str, Tensor], Tensor | None], Tensor],
    samples: Sequence[Sample],
    count: int,
    folder: Path,
    class_names: Sequence[str],
) -> None:
    """Write pictures of some predictions, spread evenly over the samples.

    prediction_of: an image's name, its fields by name, and its label, by which the net may be shown
        only a part of it, to its prediction, uint8 (H, W).
    """
    drawn = []
    for index in spread_evenly(len(samples), count):
        sample = samples[index]
        prediction = prediction_of(sample.name, sample.fields, sample.label)
        rgb = as_picture(sample.fields)
        assert sample.label is not None
        drawn.append((sample.name, rgb, sample.label.numpy(), prediction.numpy()))
    if drawn:
        write_panels(folder, drawn, class_names)


def spread_evenly(length: int, count: int) -> list[int]:
    """Places of at most `count` of so many samples, the first and the last among them."""
    return sorted({round(i * (length - 1) / max(1, count - 1)) for i in range(count)})


def as_picture(fields: dict[str, Tensor]) -> np.ndarray:
    """What to show of an image, uint8 (H, W, 3): its colours, else HHA, else depth in grey."""
    for name in ("rgb", "hha"):
        if name in fields:
            return fields[name].permute(1, 2, 0).numpy()
    depth = fields["depth"][0].float()
    grey = (255 * depth / depth.max().clamp(min=1)).to(torch.uint8)
    return grey[..., None].expand(-1, -1, 3).numpy()


def write_panels(
    folder: Path,
    samples: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]],
    class_names: Sequence[str],
) -> None:
    """Write a sheet of image, truth, prediction and errors, a picture per prediction, and panels.

    Void is white. Errors have the colour of what was predicted, on the darkened image.
    samples: id, rgb uint8 (H, W, 3), truth and prediction uint8 (H, W).
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, rgb, truth, prediction in samples:
        wrong = (prediction != truth) & (truth != VOID)
        errors = np.where(wrong[..., None], colour(prediction), (rgb * 0.4).astype(np.uint8))
        errors[truth == VOID] = WHITE
        rows.append([rgb, colour(truth), colour(prediction), errors])
        with whole(folder / f"{name}.png") as part:
            Image.fromarray(overlay(rgb, prediction)).save(part)
        write_panel(folder / PANELS.name / name, rgb, truth, prediction)
    page = sheet(rows, ("image", "truth", "prediction", "wrong"), class_names)
    with whole(folder / "sheet.png") as part:
        page.save(part)


def write_panel(folder: Path, rgb: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> None:
    """Write what the report lays over each other: image.jpg, truth.png, prediction.png.

    All of one size, at most PANEL_SIDE wide and high. The latter two hold class indices and the
    palette of `colour`; index 0, the background, is transparent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shrink = min(1.0, PANEL_SIDE / max(truth.shape))
    size = (max(1, round(shrink * truth.shape[1])), max(1, round(shrink * truth.shape[0])))
    with whole(folder / IMAGE) as part:
        Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS).save(part, quality=85)
    for name, label in ((TRUTH, truth), (PREDICTION, prediction)):
        indexed = Image.fromarray(label).resize(size, Image.Resampling.NEAREST)
        indexed.putpalette(colour(np.arange(256, dtype=np.uint8)).tobytes())
        with whole(folder / name) as part:
            indexed.save(part, transparency=0, optimize=True)
