"""Pictures of predictions: colours, overlays, legends, and contact sheets."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fcnexp import VOID, WIDE_VOID, void_of
from fcnexp.data.bands import picture_of
from fcnexp.data.palette import voc_palette
from fcnexp.data.sample import Samples
from fcnexp.reporting.grid import IMAGE, PANELS, PICTURES, PREDICTION, TRUTH, WORST
from fcnexp.reporting.image_facts import worst_images
from fcnexp.reporting.records import percent
from fcnexp.reporting.result import Counted
from fcnexp.scoring.tasks import Task
from fcnexp.system.atomic import atomic_file

PANEL_SIDE = 500  # pixels, as VOC images
GAP = 6  # pixels between the pictures of a sheet
WHITE = (255, 255, 255)
BLACK = (0, 0, 0)
FEW = 60  # classes that a sheet's legend shows whether they occur or not


def colour(label: np.ndarray) -> np.ndarray:
    """Label map (H, W) in VOC's colours, uint8 (H, W, 3); void is white."""
    wide = void_of(label) == WIDE_VOID
    return label_colours(int(label.max(initial=0)) + 1 if wide else VOID)[label]


def overlay(rgb: np.ndarray, label: np.ndarray, strength: float = 0.6) -> np.ndarray:
    """Image blended with its class colours, uint8 (H, W, 3); background and void stay clear.

    rgb: uint8 (H, W, 3). label: (H, W). strength: opacity of the colours, in [0, 1].
    """
    mixed = (1 - strength) * rgb + strength * colour(label)
    shown = ((label != 0) & (label != void_of(label)))[..., None]
    return np.where(shown, mixed, rgb).round().astype(np.uint8)


def sheet(
    rows: list[list[np.ndarray]],
    titles: tuple[str, ...],
    class_names: Sequence[str],
    captions: Sequence[str] = (),
    *,
    labels: Sequence[np.ndarray] = (),
) -> Image.Image:
    """Contact sheet of pictures in a table, with column titles and a legend of classes below.

    rows: uint8 (H, W, 3) each; pictures in a row have the same size. captions: one above each row.
    labels: the label maps shown; of more than FEW classes, the legend has only those in them.
    """
    widths = [max(row[i].shape[1] for row in rows) for i in range(len(titles))]
    heights = [row[0].shape[0] for row in rows]
    text = max(10, min(widths) // 12)  # pixels high
    top = text + GAP
    font = ImageFont.load_default(size=text)
    width = sum(widths) + GAP * (len(widths) + 1)
    entries = captions_of(class_names)
    if len(class_names) > FEW:
        present = set().union(*(np.unique(label).tolist() for label in labels))
        entries = {value: name for value, name in entries.items() if value in present}
    key = legend(entries, width, text, classes=len(class_names))
    extra = text + GAP if captions else 0  # height of a caption
    height = top + sum(heights) + (GAP + extra) * len(rows) + GAP
    page = Image.new("RGB", (key.width, height + key.height), WHITE)
    page.paste(key, (0, height))
    draw = ImageDraw.Draw(page)
    lefts = [GAP + sum(widths[:i]) + i * GAP for i in range(len(widths))]
    for left, title in zip(lefts, titles, strict=True):
        draw.text((left, GAP // 2), title, fill=BLACK, font=font)
    y = top + GAP
    for row, height, caption in zip(rows, heights, captions or [""] * len(rows), strict=True):
        if caption:
            draw.text((GAP, y), caption, fill=BLACK, font=font)
            y += extra
        for left, picture in zip(lefts, row, strict=True):
            page.paste(Image.fromarray(picture), (left, y))
        y += height + GAP
    return page


def captions_of(class_names: Sequence[str]) -> dict[int, str]:
    """Names by value in label maps, with void."""
    void = VOID if len(class_names) <= VOID else WIDE_VOID
    return {**dict(enumerate(class_names)), void: "void"}


def legend(entries: Mapping[int, str], width: int, text: int, *, classes: int = 1) -> Image.Image:
    """Strip with a colour swatch and a caption per class, on as many lines as needed.

    entries: caption by class index. width: of the strip, pixels; grows if one entry is wider.
    text: letter height, pixels. classes: their number, shown or not.
    """
    line = text + text // 2
    font = ImageFont.load_default(size=text)
    widths = [font.getlength(caption) + 2 * line for caption in entries.values()]
    places, rows = _flow(widths, width)
    strip = Image.new("RGB", (max(width, GAP + int(max(widths, default=0))), rows * line), WHITE)
    draw = ImageDraw.Draw(strip)
    palette = label_colours(classes)
    for (index, caption), (x, row) in zip(entries.items(), places, strict=True):
        y = row * line
        red, green, blue = palette[index].tolist()
        draw.rectangle((x, y, x + text, y + text), fill=(red, green, blue), outline=BLACK)
        draw.text((x + line, y + text / 2), caption, fill=BLACK, font=font, anchor="lm")
    return strip


def thumbnail(picture: np.ndarray, side: int = 240) -> np.ndarray:
    """Picture uint8 (H, W, 3) subsampled to at most `side` pixels per side; colours do not mix."""
    step = max(1, -(-max(picture.shape[:2]) // side))
    return picture[::step, ::step]


def draw_predictions(
    prediction_of: Callable[[str, dict[str, Tensor], Tensor | None], Tensor],
    samples: Samples,
    indices: Sequence[int],
    folder: Path,
    task: Task,
    captions: Sequence[str] = (),
) -> None:
    """Write pictures of the predictions of some samples.

    prediction_of: maps an image's name, fields, and label to a prediction of the task, (H, W). The
        label, the first task's, is there for masking experiments, which hide part of the image from
        the net.
    indices: of the samples to draw. captions: of each of them on the sheet.
    """
    drawn = []
    for index in indices:
        sample = samples[index]
        prediction = prediction_of(sample.name, sample.fields, sample.label)
        truth, shown = task.label_of(sample), samples.shown
        picture = as_picture(sample.fields, shown)
        drawn.append((sample.name, picture, truth.numpy(), prediction.numpy()))
    if drawn:
        write_panels(folder, drawn, task.classes, captions)


def draw_scored(
    prediction_of: Callable[..., Tensor],
    samples: Samples,
    shown: Sequence[int],
    worst: int,
    run: Path,
    counted: Sequence[Counted],
) -> None:
    """Write the pictures of a run, for each task: `shown` samples, and the worst in `worst`.

    prediction_of: as of `draw_predictions`, with the number of the task as a fourth argument.
    worst: how many images to draw of those with the lowest mean IU, the worst first. run: folder.
    """
    place = {name: i for i, name in enumerate(samples.ids)}
    for number, counts in enumerate(counted):
        of_task = partial(prediction_of, number=number)
        folder = counts.task.folder(run) / PICTURES
        names = [samples.ids[index] for index in shown]
        draw_predictions(of_task, samples, shown, folder, counts.task, names)
        found = worst_images(counts.per_image, worst) if counts.per_image else []
        captions = [f"{image.name}: mean IU {percent(image.iu)} %" for image in found]
        indices = [place[image.name] for image in found]
        draw_predictions(of_task, samples, indices, folder / WORST, counts.task, captions)


def spread_evenly(length: int, count: int) -> list[int]:
    """At most `count` evenly spaced indices below `length`, including the first and the last."""
    return sorted({round(i * (length - 1) / max(1, count - 1)) for i in range(count)})


def as_picture(fields: Mapping[str, Tensor], shown: Sequence[int] | None = None) -> np.ndarray:
    """Displayable version of an image, uint8 (H, W, 3): RGB, else HHA, bands, else depth in grey.

    shown: see `picture_of`.
    """
    if "bands" in fields:
        return picture_of(fields["bands"], shown)
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
    captions: Sequence[str] = (),
) -> None:
    """Write a sheet of all images, an overlay per prediction, and panels for the report.

    Sheet columns: image, ground truth, prediction, errors. Void is white. Errors show the predicted
    colour on the darkened image. samples: name, rgb uint8 (H, W, 3), ground truth and prediction
    (H, W).
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, rgb, truth, prediction in samples:
        void = truth == void_of(truth)
        wrong = (prediction != truth) & ~void
        errors = np.where(wrong[..., None], colour(prediction), (rgb * 0.4).astype(np.uint8))
        errors[void] = WHITE
        rows.append([rgb, colour(truth), colour(prediction), errors])
        with atomic_file(folder / f"{name}.png") as part:
            Image.fromarray(overlay(rgb, prediction)).save(part)
        write_panel(folder / PANELS.name / name, rgb, truth, prediction)
    titles = ("image", "ground truth", "prediction", "errors")
    labels = [label for _, _, *both in samples for label in both]
    page = sheet(rows, titles, class_names, captions, labels=labels)
    with atomic_file(folder / "sheet.png") as part:
        page.save(part)


def write_panel(folder: Path, rgb: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> None:
    """Write one panel of the report: image.jpg, truth.png, prediction.png.

    All have the same size, at most PANEL_SIDE wide and high. Both PNGs hold class indices with the
    palette of `colour`; index 0, the background, is transparent. Of more than 255 classes they hold
    the colours themselves.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shrink = min(1.0, PANEL_SIDE / max(truth.shape))
    size = (max(1, round(shrink * truth.shape[1])), max(1, round(shrink * truth.shape[0])))
    with atomic_file(folder / IMAGE) as part:
        Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS).save(part, quality=85)
    for name, label in ((TRUTH, truth), (PREDICTION, prediction)):
        with atomic_file(folder / name) as part:
            if void_of(label) == WIDE_VOID:
                opaque = np.where(label == 0, 0, 255)[..., None]
                picture = Image.fromarray(np.append(colour(label), opaque, -1).astype(np.uint8))
                picture.resize(size, Image.Resampling.NEAREST).save(part, optimize=True)
                continue
            indexed = Image.fromarray(label).resize(size, Image.Resampling.NEAREST)
            indexed.putpalette(label_colours().tobytes())
            indexed.save(part, transparency=0, optimize=True)


def label_colours(classes: int = VOID) -> np.ndarray:
    """Colour of each class index, uint8 (n, 3): VOC's, with void, which is the last, in white."""
    palette = voc_palette(max(VOID, classes) + 1)
    palette[WIDE_VOID] = WHITE
    return palette


def _flow(widths: Sequence[float], total: int) -> tuple[list[tuple[int, int]], int]:
    """Left edge and line number of each entry, wrapped at a total width, and number of lines."""
    places, x, row = [], GAP, 0
    for width in widths:
        if x > GAP and x + width > total:
            x, row = GAP, row + 1
        places.append((x, row))
        x += int(width)
    return places, row + 1
