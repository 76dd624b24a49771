"""What the counts per image say of one run: intervals, means over images, worst images."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fcnexp.scoring.by_image import BY_IMAGE, image_iu
from fcnexp.scoring.per_image import PerImage
from fcnexp.scoring.resampling import DRAWS, FEWEST, LEVEL, Interval, interval, resampled

Ends = list[float] | None


class Scored(NamedTuple):
    """One image. iu: mean IU over the classes in its ground truth or prediction."""

    name: str
    iu: float


def interval_facts(per_image: PerImage) -> dict[str, Any] | None:
    """95 % intervals of the four scores and of each class's IU; None for too few images.

    A class that fewer than `FEWEST` images show has none either.
    """
    if len(per_image.names) < FEWEST:
        return None
    margins = per_image.margins()
    draws = resampled([margins])
    images = (margins[:, 1] > 0).sum(0).tolist()
    classes = {
        name: _ends(interval(draws.class_iou[0, :, i], images[i])) if images[i] >= FEWEST else None
        for i, name in enumerate(per_image.classes)
    }
    return {
        "level": LEVEL,
        "draws": DRAWS,
        "over": "images",
        "scores": {
            key: _ends(interval(each[0], len(margins))) for key, each in draws.scores.items()
        },
        "class_iou": classes,
        "images_of_class": dict(zip(per_image.classes, images, strict=True)),
    }


def image_conventions(per_image: PerImage) -> dict[str, dict[str, Any]]:
    """Mean IU by the rules of tools that score each image by itself, in [0, 1]."""
    margins = per_image.margins()
    found = {}
    for name, rule in BY_IMAGE.items():
        value = rule.miou(margins)
        found[name] = {"miou": None if math.isnan(value) else value, "over_images": rule.words}
    return found


def worst_images(per_image: PerImage, count: int) -> list[Scored]:
    """The images with the lowest mean IU, the worst first; images without labels have none."""
    values = image_iu(per_image.margins())
    order = np.argsort(values, kind="stable")  # NaN last
    names = per_image.names
    return [Scored(names[i], float(values[i])) for i in order[:count] if not np.isnan(values[i])]


def ends_text(ends: Sequence[float] | None) -> str:
    """An interval in percent: `[41.2, 48.0]`; a dash for None."""
    return "-" if ends is None else f"[{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"


def _ends(given: Interval) -> Ends:
    return None if math.isnan(given.low) else [given.low, given.high]
