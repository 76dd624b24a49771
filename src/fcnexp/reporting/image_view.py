"""Images of a report's page: scores by row, and pictures of the worst and the most changed."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fcnexp import VOID
from fcnexp.reporting.comparison import Row
from fcnexp.reporting.evidence import Evidence
from fcnexp.reporting.evidence_tables import SHOWN, scores_by_image
from fcnexp.reporting.grid import (
    IMAGE,
    PANELS,
    PREDICTION,
    TRUTH,
    WORST,
    as_uri,
    data_uri,
    panel_digest,
)

MAX_BYTES = 3_000_000  # of the pictures in this list; base64 adds a third
RED, WHITE = (220, 38, 38), (255, 255, 255)
WHITE_RGBA = (*WHITE, 255)

Scores = Sequence[Sequence[float | None] | None]


def image_view(rows: Sequence[Row], evidence: Evidence) -> dict[str, Any] | None:
    """Names of images, their scores by row, and pictures by name; None without counts per image.

    A picture has `image` and `truth`, and for each row prediction and errors, or None.
    """
    names, scores = scores_by_image(evidence)
    if not names:
        return None
    rounded = [each and [v if v is None else round(v, 4) for v in each] for each in scores]
    return {"names": names, "scores": rounded, "pictures": _pictures(rows, names, scores)}


def _pictures(rows: Sequence[Row], names: Sequence[str], scores: Scores) -> dict[str, Any]:
    """Pictures of the listed images, while they fit."""
    panels = [_panels_of(row) if own else {} for row, own in zip(rows, scores, strict=True)]
    found: dict[str, Any] = {}
    room = MAX_BYTES
    for at in _listed(scores):
        name = names[at]
        folders = [own.get(name) for own in panels]
        first = next((folder for folder in folders if folder), None)
        if first is None:
            continue
        each = [folder and [folder / PREDICTION, folder / TRUTH] for folder in folders]
        files = [first / IMAGE, first / TRUTH, *(f for pair in each if pair for f in pair)]
        room -= sum(file.stat().st_size for file in files)
        if room < 0:
            break
        found[name] = {
            "image": data_uri(first / IMAGE),
            "truth": data_uri(first / TRUTH),
            "rows": [pair and [data_uri(pair[0]), _errors(*pair)] for pair in each],
        }
    return found


def _listed(scores: Scores) -> Iterable[int]:
    """Places of the worst images of each row, the last row first, and of the largest changes."""
    known = [each for each in scores if each]
    lists = []
    for each in reversed(known):
        lists.append(sorted((v, i) for i, v in enumerate(each) if v is not None)[:SHOWN])
    for before, after in [(known[0], known[-1]), *zip(known, known[1:], strict=False)]:
        changes = [
            (-abs(b - a), i)
            for i, (a, b) in enumerate(zip(before, after, strict=True))
            if a is not None and b is not None
        ]
        lists.append(sorted(changes)[:SHOWN])
    return dict.fromkeys(i for each in lists for _, i in each)


def _panels_of(row: Row) -> dict[str, Path]:
    """Complete panel folders of the row's runs by image, those of the first run first."""
    found: dict[str, Path] = {}
    for run in row.runs:
        for folder in (run.folder / PANELS, run.folder / PANELS.parent / WORST / PANELS.name):
            for panel in sorted(folder.iterdir()) if folder.is_dir() else []:
                if panel.name not in found and panel_digest(panel):
                    found[panel.name] = panel
    return found


def _errors(prediction: Path, truth: Path) -> str:
    """Data URI of a picture that is red where the prediction is wrong, and white where void."""
    with Image.open(prediction) as guess, Image.open(truth) as label:
        guessed, labelled = np.asarray(guess), np.asarray(label)
    void, wrong = labelled == VOID, guessed != labelled
    if labelled.ndim == 3:  # colours, of more than 255 classes
        void, wrong = (labelled == WHITE_RGBA).all(-1), wrong.any(-1)
    shown = np.where(void, 2, wrong).astype(np.uint8)
    picture = Image.fromarray(shown)
    picture.putpalette([0, 0, 0, *RED, *WHITE])
    stored = io.BytesIO()
    picture.save(stored, "PNG", transparency=0, optimize=True)
    return as_uri(stored.getvalue(), "png")
