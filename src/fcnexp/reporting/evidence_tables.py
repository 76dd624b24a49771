"""The evidence of a report as text: intervals, steps between rows, classes, objects, images."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from fcnexp.reporting.comparison import Row
from fcnexp.reporting.evidence import Evidence, Step
from fcnexp.reporting.image_facts import ends_text
from fcnexp.reporting.object_sizes import SHARES
from fcnexp.reporting.records import percent
from fcnexp.scoring.by_image import image_iu
from fcnexp.scoring.objects import (
    SIZES,
    Found,
    added,
    by_class_and_size,
    over_classes,
    size_names,
)
from fcnexp.scoring.paired import ALPHA, Difference, in_order

SHOWN = 8  # images in each list

Cells = list[list[str]]


def spread_cells(rows: Sequence[Row], evidence: Evidence) -> Cells:
    """Mean IU of each row with its intervals, header first; empty if no row has any."""
    lines = [["row", "mean IU", "other images", "std over seeds", "other images and seeds"]]
    for row, found in zip(rows, evidence.spreads, strict=True):
        if found is not None:
            cells = [ends_text(found.images), percent(found.seeds), ends_text(found.both)]
            lines.append([row.name, percent(row.scores["miou"]), *cells])
    return lines if len(lines) > 1 else []


def step_cells(rows: Sequence[Row], evidence: Evidence) -> Cells:
    """The steps between rows, header first; empty if there are none."""
    lines = [["from", "to", "gain", "draws over", "other sign (%)", "p (Holm)", "beyond chance"]]
    for step in evidence.steps.values():
        before, after = (rows[at].name for at in step.pair)
        drawn = "images and seeds" if step.difference.seeds else "images"
        shares = [percent(step.difference.other_sign), p_text(step.p)]
        verdict = "yes" if step.beyond_chance else "no"
        lines.append([before, after, gain_text(step.difference), drawn, *shares, verdict])
    return lines if len(lines) > 1 else []


def gain_text(found: Difference) -> str:
    """A difference in percent with its interval: `+2.3 [1.1, 3.4]`."""
    return f"{100 * found.value:+.1f} {ends_text(found.interval)}"


def p_text(p: float) -> str:
    """A probability with at most three decimals."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def class_steps(evidence: Evidence) -> dict[str, list[tuple[Difference, float] | None]]:
    """Difference and corrected p of each class, one per step; None for too few images."""
    steps = list(evidence.steps.values())
    names = dict.fromkeys(name for step in steps for name in step.classes)
    return {name: [step.classes.get(name) for step in steps] for name in names}


def class_cells(rows: Sequence[Row], evidence: Evidence) -> Cells:
    """Table of `class_steps`, header first; an asterisk marks a difference beyond chance."""
    found = class_steps(evidence)
    if not found:
        return []
    lines = [["class", *(step_name(rows, step) for step in evidence.steps.values())]]
    for name, values in found.items():
        cells = [
            "-" if v is None else gain_text(v[0]) + (" *" if v[1] < ALPHA else "") for v in values
        ]
        lines.append([name, *cells])
    return lines


def step_name(rows: Sequence[Row], step: Step) -> str:
    """Both rows of a step."""
    return " to ".join(rows[at].name for at in step.pair)


def found_by_row(
    evidence: Evidence, sizes: Sequence[float] = SIZES
) -> tuple[list[Found | None], tuple[str, ...]]:
    """Objects of each row by class and size, summed over its runs, and the classes.

    None for a row without records, or with classes other than those of the first row.
    """
    classes = next((records[0].classes for records in evidence.records if records), ())
    found = []
    for records in evidence.records:
        each = [by_class_and_size(record, sizes) for record in records]
        counted = [one for one in each if one is not None]
        usable = counted and len(counted) == len(each) and records[0].classes == classes
        found.append(added(counted) if usable else None)
    return found, classes


def size_cells(
    rows: Sequence[Row], evidence: Evidence, share: str, sizes: Sequence[float] = SIZES
) -> Cells:
    """Share of the objects of each size, one column per row, header first; empty without any.

    share: a key of SHARES. Objects are counted once for each seed.
    """
    found, classes = found_by_row(evidence, sizes)
    totals = {at: over_classes(each, classes) for at, each in enumerate(found) if each is not None}
    if not totals:
        return []
    shares = [total.shares()[share] for total in totals.values()]
    lines = [["size (px)", "objects", *(rows[at].name for at in totals)]]
    first, records = next((t, evidence.records[at]) for at, t in totals.items())
    for i, name in enumerate(size_names(sizes)):
        number = int(first.objects[i]) // len(records)
        lines.append([name, str(number), *(percent(values[i]) for values in shares)])
    return lines


def size_tables(
    rows: Sequence[Row], evidence: Evidence, sizes: Sequence[float] = SIZES
) -> dict[str, Cells]:
    """`size_cells` of all shares by title; empty if no objects were counted."""
    tables = {
        f"Objects by size: {name} (%)": size_cells(rows, evidence, key, sizes)
        for key, name in SHARES.items()
    }
    return {title: lines for title, lines in tables.items() if lines}


def scores_by_image(evidence: Evidence) -> tuple[list[str], list[list[float | None] | None]]:
    """Names of the images, and each row's mean IU of each image, averaged over seeds.

    The images are those of the first row that has records; other rows on other images have None.
    """
    first = next((records[0] for records in evidence.records if records), None)
    if first is None:
        return [], []
    rows: list[list[float | None] | None] = []
    for records in evidence.records:
        same = records and {*records[0].names} == {*first.names}
        if not same:
            rows.append(None)
            continue
        each = [image_iu(in_order(record, first.names)).tolist() for record in records]
        rows.append([None if np.isnan(v).any() else fmean(v) for v in zip(*each, strict=True)])
    return list(first.names), rows


def worst_cells(rows: Sequence[Row], evidence: Evidence, count: int = SHOWN) -> Cells:
    """Images with the lowest mean IU in the last row, header first; empty if there are none."""
    names, scores = scores_by_image(evidence)
    at = next((i for i in reversed(range(len(scores))) if scores[i]), None)
    if at is None:
        return []
    own = [(value, name) for value, name in zip(scores[at] or [], names, strict=True)]
    known = sorted((v, i) for i, (v, _) in enumerate(own) if v is not None)
    lines = [["image", *(row.name for row in rows)]]
    for _, i in known[:count]:
        lines.append([names[i], *(percent(each[i]) if each else "-" for each in scores)])
    return lines


def change_cells(rows: Sequence[Row], evidence: Evidence, count: int = SHOWN) -> Cells:
    """Images whose mean IU changes most between the first and the last row, header first."""
    names, scores = scores_by_image(evidence)
    places = [i for i, each in enumerate(scores) if each]
    if len(places) < 2:
        return []
    before, after = (scores[places[at]] or [] for at in (0, -1))
    changes = [
        (b - a, i)
        for i, (a, b) in enumerate(zip(before, after, strict=True))
        if a is not None and b is not None
    ]
    changes.sort(key=lambda each: (-abs(each[0]), each[1]))
    ends = [rows[places[at]].name for at in (0, -1)]
    lines = [["image", *ends, "change"]]
    for change, i in changes[:count]:
        lines.append([names[i], percent(before[i]), percent(after[i]), f"{100 * change:+.1f}"])
    return lines
