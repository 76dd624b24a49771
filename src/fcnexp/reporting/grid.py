"""The same images in every row of a report: photograph, truth, and each row's prediction."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from fcnexp.reporting.comparison import Row

PANELS = Path("pictures") / "panels"  # in a run's folder; in it one folder for each image
IMAGE, TRUTH, PREDICTION = "image.jpg", "truth.png", "prediction.png"
MOST_IMAGES = 8  # of a page
MOST_BYTES = 4_500_000  # of all pictures of a page, a third more in base64


class Panel(NamedTuple):
    """One image with its truth, and each row's prediction, as data URIs; None where it has none."""

    name: str
    size: tuple[int, int]
    image: str
    truth: str
    predictions: list[str | None]


class Grid(NamedTuple):
    """Panels that fit a page, and how many images, further seeds not counted, did not."""

    panels: list[Panel]
    left_out: int


def read_grid(rows: Sequence[Row]) -> Grid:
    """Pictures of each row's first run that has any.

    An image is the same in two rows if its name and its truth are: a name alone may stand for
    another image where rows differ in data.
    """
    found: dict[tuple[str, str], dict[int, Path]] = {}
    for number, row in enumerate(rows):
        for folder, truth in _panels_of(row).items():
            found.setdefault((folder.name, truth), {})[number] = folder
    panels: list[Panel] = []
    room = MOST_BYTES
    for (name, _), by_row in found.items():
        first = next(iter(by_row.values()))
        files = [first / IMAGE, first / TRUTH, *(f / PREDICTION for f in by_row.values())]
        room -= sum(file.stat().st_size for file in files)
        if room < 0 or len(panels) == MOST_IMAGES:
            break
        with Image.open(first / TRUTH) as truth_picture:
            size = truth_picture.size
        predictions = [
            _data_uri(by_row[number] / PREDICTION) if number in by_row else None
            for number in range(len(rows))
        ]
        image, truth = (_data_uri(first / each) for each in (IMAGE, TRUTH))
        panels.append(Panel(name, size, image, truth, predictions))
    return Grid(panels, len(found) - len(panels))


def _panels_of(row: Row) -> dict[Path, str]:
    """Folders of the first run that has whole ones, and a digest of the truth in each."""
    for run in row.runs:
        folder = run.folder / PANELS
        inner = sorted(folder.iterdir()) if folder.is_dir() else []
        if whole := {panel: digest for panel in inner if (digest := _digest(panel))}:
            return whole
    return {}


def _digest(panel: Path) -> str:
    """Digest of the truth's pixels; empty where a picture is missing or damaged."""
    try:
        for name in (IMAGE, PREDICTION):
            with Image.open(panel / name) as picture:
                picture.verify()
        with Image.open(panel / TRUTH) as truth:
            return hashlib.sha256(truth.tobytes()).hexdigest()
    except (OSError, SyntaxError):  # what Pillow raises of a file that is no picture
        return ""


def _data_uri(path: Path) -> str:
    kind = "jpeg" if path.suffix == ".jpg" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
