"""Contact sheet of a data set: photographs beside their masks, some for every class."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fcnexp import void_of
from fcnexp.data.checking import EXAMPLES, Report
from fcnexp.data.sample import Samples
from fcnexp.errors import DataError
from fcnexp.reporting.pictures import (
    BLACK,
    GAP,
    WHITE,
    as_picture,
    captions_of,
    colour,
    legend,
    overlay,
)
from fcnexp.scoring.tasks import Task
from fcnexp.system.atomic import atomic_file

SIDE = 260  # pixels: longer side of a picture
COLUMNS = 3  # photographs in a row
TEXT = 12  # pixels high

Chosen = list[tuple[str, int]]  # split and index


def choose(reports: Sequence[Report], most: int) -> Chosen:
    """Images to show, at most `most`: one for every class, rare classes first, then a second ..."""
    chosen: dict[tuple[str, int], tuple[int, ...]] = {}
    pixels = sum((Counter(dict(enumerate(report.pixels))) for report in reports), Counter())
    classes = [c for c, _ in reversed(pixels.most_common())]
    for wanted in range(1, len(reports) * EXAMPLES + 1):
        for c in classes:
            places = [
                (example.order, report.split, example.place, example.shows)
                for report in reports
                for example in report.examples.get(c, [])
            ]
            for _, split, index, shows in sorted(places):
                shown = sum(c in others for others in chosen.values())
                if shown < wanted and len(chosen) < most:
                    chosen.setdefault((split, index), shows)
    order = [report.split for report in reports]
    return sorted(chosen, key=lambda place: (order.index(place[0]), place[1]))


def draw_check_sheet(
    path: Path,
    splits: Mapping[str, Samples],
    reports: Sequence[Report],
    most: int,
    task: Task,
) -> None:
    """Write the sheet: photograph, and the same with its classes' colours and outlines.

    most: number of images. task: whose labels and reports these are. Images that cannot be read any
        more are left out.
    """
    tiles, present = [], set[int]()
    for split, index in choose(reports, most):
        try:
            sample = splits[split][index]
        except DataError:
            continue
        label = task.label_of(sample).numpy()
        present |= set(np.unique(label).tolist())
        names = [task.classes[c] for c in np.unique(label).tolist() if 0 <= c < len(task.classes)]
        caption = f"{split} {sample.name}: {', '.join(names)}"
        tiles.append((caption, *_pair(as_picture(sample.fields, splits[split].shown), label)))
    if not tiles:
        return
    entries = {v: name for v, name in captions_of(task.classes).items() if v in present}
    page = _page(tiles, entries, len(task.classes))
    with atomic_file(path) as part:
        page.save(part)


def _pair(picture: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Photograph and overlay, uint8 (h, w, 3), at most SIDE wide and high; void is hatched."""
    height, width = label.shape
    shrink = min(1.0, SIDE / max(height, width))
    h, w = max(1, round(shrink * height)), max(1, round(shrink * width))
    rows = np.minimum(((np.arange(h) + 0.5) / shrink).astype(int), height - 1)
    columns = np.minimum(((np.arange(w) + 0.5) / shrink).astype(int), width - 1)
    small = label[rows[:, None], columns]
    image = Image.fromarray(np.ascontiguousarray(picture))
    rgb = np.asarray(image.resize((w, h), Image.Resampling.BOX))
    mixed = overlay(rgb, small, 0.5)
    void = small == void_of(small)
    stripes = np.add.outer(np.arange(h), np.arange(w)) % 6 < 2
    mixed[void & stripes] = WHITE
    outline = np.zeros(small.shape, bool)  # pixels with a neighbour of another class
    for axis in (0, 1):
        changes = np.diff(small, axis=axis) != 0
        outline |= _padded(changes, axis, 0) | _padded(changes, axis, 1)
    outline &= (small != 0) & ~void
    mixed[outline] = colour(small)[outline]
    return rgb, mixed


def _padded(changes: np.ndarray, axis: int, end: int) -> np.ndarray:
    """The array with a line of False before (end 0) or after (1) an axis."""
    room = [(0, 0), (0, 0)]
    room[axis] = (0, 1) if end else (1, 0)
    return np.pad(changes, room)


def _page(
    tiles: Sequence[tuple[str, np.ndarray, np.ndarray]], entries: Mapping[int, str], classes: int
) -> Image.Image:
    """Tiles of caption, photograph and overlay in COLUMNS, and the legend below."""
    lines = [tiles[i : i + COLUMNS] for i in range(0, len(tiles), COLUMNS)]
    tile = 2 * SIDE + 2 * GAP
    width = GAP + max(map(len, lines)) * (tile + GAP)
    heights = [TEXT + 2 * GAP + max(picture.shape[0] for _, picture, _ in row) for row in lines]
    key = legend(entries, width, TEXT, classes=classes)
    page = Image.new("RGB", (max(width, key.width), sum(heights) + 2 * GAP + key.height), WHITE)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=TEXT)
    top = GAP
    for row, height in zip(lines, heights, strict=True):
        for i, (caption, picture, mixed) in enumerate(row):
            left = GAP + i * (tile + GAP)
            draw.text((left, top), _cut(caption, font, tile), fill=BLACK, font=font)
            for x, part in ((left, picture), (left + SIDE + GAP, mixed)):
                page.paste(Image.fromarray(part), (x, top + TEXT + GAP))
        top += height
    page.paste(key, (0, top + GAP))
    return page


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, or as much of it as fits, in pixels."""
    while font.getlength(text) > width:
        text = text.rstrip(".")[:-1] + "..."
    return text
