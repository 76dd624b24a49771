"""Image grid of a report: each image with its ground truth and every row's prediction."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from fcnexp.reporting.comparison import Row

PICTURES = "pictures"  # in a run folder
PANELS = Path(PICTURES) / "panels"  # in a run folder; has one folder per image
WORST = "worst"  # beside panels; has panels of its own
IMAGE, TRUTH, PREDICTION = "image.jpg", "truth.png", "prediction.png"
MAX_IMAGES = 8  # per page
MAX_BYTES = 4_500_000  # of all pictures on a page; base64 adds a third


class Panel(NamedTuple):
    """One image, its ground truth, and each row's prediction (None if missing), as data URIs."""

    name: str
    size: tuple[int, int]
    image: str
    truth: str
    predictions: list[str | None]


class Grid(NamedTuple):
    """Panels that fit on a page. left_out: number of images that did not fit."""

    panels: list[Panel]
    left_out: int


def read_grid(rows: Sequence[Row]) -> Grid:
    """Read the pictures of each row's first run that has any.

    Rows share an image if both its name and its ground truth match: rows trained on different data
    may use the same name for different images.
    """
    found: dict[tuple[str, str], dict[int, Path]] = {}
    for number, row in enumerate(rows):
        for folder, truth in _panels_of(row).items():
            found.setdefault((folder.name, truth), {})[number] = folder
    panels: list[Panel] = []
    room = MAX_BYTES
    for (name, _), by_row in found.items():
        first = next(iter(by_row.values()))
        files = [first / IMAGE, first / TRUTH, *(f / PREDICTION for f in by_row.values())]
        room -= sum(file.stat().st_size for file in files)
        if room < 0 or len(panels) == MAX_IMAGES:
            break
        with Image.open(first / TRUTH) as truth_picture:
            size = truth_picture.size
        predictions = [
            data_uri(by_row[number] / PREDICTION) if number in by_row else None
            for number in range(len(rows))
        ]
        image, truth = (data_uri(first / each) for each in (IMAGE, TRUTH))
        panels.append(Panel(name, size, image, truth, predictions))
    return Grid(panels, len(found) - len(panels))


def _panels_of(row: Row) -> dict[Path, str]:
    """Complete panel folders of the first run that has any, each with a digest of its labels."""
    for run in row.runs:
        folder = run.folder / PANELS
        inner = sorted(folder.iterdir()) if folder.is_dir() else []
        if complete := {panel: digest for panel in inner if (digest := panel_digest(panel))}:
            return complete
    return {}


def panel_digest(panel: Path) -> str:
    """Digest of the ground-truth pixels; empty if a picture is missing or damaged."""
    try:
        for name in (IMAGE, PREDICTION):
            with Image.open(panel / name) as picture:
                picture.verify()
        with Image.open(panel / TRUTH) as truth:
            return hashlib.sha256(truth.tobytes()).hexdigest()
    except (OSError, SyntaxError):  # Pillow raises either for a file that is not an image
        return ""


def data_uri(path: Path) -> str:
    """Contents of a picture as a URI."""
    return as_uri(path.read_bytes(), "jpeg" if path.suffix == ".jpg" else "png")


def as_uri(stored: bytes, kind: str) -> str:
    """A picture as a URI. kind: jpeg or png."""
    return f"data:image/{kind};base64,{base64.b64encode(stored).decode()}"
