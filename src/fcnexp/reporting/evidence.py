"""Which differences between rows are beyond chance, from the counts per image of their runs."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcnexp.errors import DataError
from fcnexp.papers.published import ABSENT
from fcnexp.reporting.comparison import Row
from fcnexp.reporting.records import Run
from fcnexp.scoring.paired import (
    ALPHA,
    Difference,
    difference,
    holm,
    in_order,
    reversed_,
    why_not_paired,
)
from fcnexp.scoring.per_image import IMAGES, PerImage, read_per_image
from fcnexp.scoring.resampling import FEWEST, Draws, Spread, resampled, spread
from fcnexp.scoring.scores import class_iu, mean_iu

Pair = tuple[int, int]  # places of two rows


class Step(NamedTuple):
    """From one row to another: difference of mean IU, second minus first.

    p: corrected by Holm's rule for the number of steps. classes: difference in IU and corrected p
    by class; the correction counts all classes of all steps. Classes in fewer than FEWEST images
    are left out.
    """

    pair: Pair
    difference: Difference
    p: float
    classes: dict[str, tuple[Difference, float]]

    @property
    def beyond_chance(self) -> bool:
        """True if a difference this large is unlikely to be there by chance."""
        return self.p < ALPHA


class Evidence(NamedTuple):
    """What images and seeds say of the rows.

    spreads: of each row's mean IU; None without counts per image. steps: by the places of two rows.
    records: counts per image of each row's runs, in one order of the images; empty if a run has
    none. problems: why something is missing, in words.
    """

    spreads: list[Spread | None]
    steps: dict[Pair, Step]
    records: list[list[PerImage]]
    problems: list[str]

    def step(self, pair: Pair) -> Step | None:
        """The step from one row to another, which may have been tested the other way round."""
        if pair in self.steps:
            return self.steps[pair]
        back = self.steps.get((pair[1], pair[0]))
        if back is None:
            return None
        classes = {name: (reversed_(each), p) for name, (each, p) in back.classes.items()}
        return Step(pair, reversed_(back.difference), back.p, classes)


class _Group(NamedTuple):
    """Rows on the same images. places: of its rows. names: of the images, in the order used."""

    places: list[int]
    first: PerImage


def weigh(rows: Sequence[Row], pairs: Sequence[Pair], without: str | None = None) -> Evidence:
    """Compute spreads of all rows, and tests of these pairs of rows.

    without: class that the mean IU leaves out, or ABSENT.
    """
    problems: list[str] = []
    records = [_records_of(row, problems) for row in rows]
    problems += _without_file(rows)
    groups, place_of = _grouped(rows, records, problems)
    spreads: list[Spread | None] = [None] * len(rows)
    tested: dict[Pair, tuple[Difference, dict[str, Difference]]] = {}
    for group in groups:
        if len(group.first.names) < FEWEST:
            few = f"no intervals: {len(group.first.names)} images are too few, {FEWEST} are needed"
            problems.append(f"{few} ({_named(rows, group.places)})")
            continue
        margins = {at: [in_order(r, group.first.names) for r in records[at]] for at in group.places}
        draws, values = _drawn(margins, group.first, without)
        for at in group.places:
            given = draws[at].scores["miou"], values[at].tolist()
            spreads[at] = spread(*given, images=len(group.first.names))
        for pair in pairs:
            known = (pair[1], pair[0]) in tested
            if not known and all(place_of.get(at) is group for at in pair):
                tested[pair] = _compared(pair, draws, values, margins, group.first.classes)
    return Evidence(spreads, _corrected(tested), records, list(dict.fromkeys(problems)))


def two_runs(runs: Sequence[Run], without: str | None) -> Difference | None:
    """Compare two runs, whatever their settings; None if one has no usable counts per image.

    Raises DataError if they were scored on different images.
    """
    first, second = (_read(run.folder) for run in runs)
    if first is None or second is None:
        return None
    if why := why_not_paired(first, second):
        raise DataError(
            f"{runs[0].folder} and {runs[1].folder}: {why}; score both on the same images, with "
            "python -m fcnexp.evaluate checkpoint=FILE data.val_split=LIST, or report them one by "
            "one"
        )
    if len(first.names) < FEWEST:
        return None
    margins = {0: [first.margins()], 1: [in_order(second, first.names)]}
    draws, values = _drawn(margins, first, without)
    first_draws, second_draws = (draws[at].scores["miou"] for at in (0, 1))
    number = len(first.names)
    return difference(first_draws, second_draws, (values[0], values[1]), images=number)


def _drawn(
    margins: dict[int, list[np.ndarray]], first: PerImage, without: str | None
) -> tuple[dict[int, Draws], dict[int, np.ndarray]]:
    """Draws and mean IU on all images, by place; all rows see the same drawn images."""
    left_out = _left_out(first, without)
    every = resampled([each for row in margins.values() for each in row], left_out)
    draws, values, start = {}, {}, 0
    for at, row in margins.items():
        part = slice(start, start + len(row))
        scores = {key: scores[part] for key, scores in every.scores.items()}
        draws[at] = Draws(scores, every.class_iou[part])
        values[at] = np.array([float(mean_iu(each.sum(0), left_out)) for each in row])
        start += len(row)
    return draws, values


def _left_out(first: PerImage, without: str | None) -> list[int] | None:
    """Places of the classes that the mean IU leaves out; None for none."""
    if without == ABSENT:
        return np.flatnonzero(first.margins()[:, 1].sum(0) == 0).tolist()
    return [first.classes.index(without)] if without else None


def _compared(
    pair: Pair,
    draws: dict[int, Draws],
    values: dict[int, np.ndarray],
    margins: dict[int, list[np.ndarray]],
    classes: Sequence[str],
) -> tuple[Difference, dict[str, Difference]]:
    """Differences of two rows in mean IU, and in the IU of each class in enough images."""
    first, second = (draws[at] for at in pair)
    overall = difference(
        first.scores["miou"],
        second.scores["miou"],
        (values[pair[0]], values[pair[1]]),
        images=len(margins[pair[0]][0]),
    )
    images = (margins[pair[0]][0][:, 1] > 0).sum(0)
    ius = [np.array([class_iu(each.sum(0)) for each in margins[at]]) for at in pair]
    by_class = {
        name: difference(
            first.class_iou[:, :, i],
            second.class_iou[:, :, i],
            (ius[0][:, i], ius[1][:, i]),
            images=int(images[i]),
        )
        for i, name in enumerate(classes)
        if images[i] >= FEWEST
    }
    return overall, by_class


def _corrected(tested: dict[Pair, tuple[Difference, dict[str, Difference]]]) -> dict[Pair, Step]:
    """Correct the p values for the number of steps, and of classes in all steps."""
    steps = holm([overall.p for overall, _ in tested.values()])
    keys = [(pair, name) for pair, (_, classes) in tested.items() for name in classes]
    of_classes = dict(zip(keys, holm([tested[p][1][n].p for p, n in keys]), strict=True))
    return {
        pair: Step(
            pair, overall, p, {n: (each, of_classes[pair, n]) for n, each in classes.items()}
        )
        for (pair, (overall, classes)), p in zip(tested.items(), steps, strict=True)
    }


def _records_of(row: Row, problems: list[str]) -> list[PerImage]:
    """Counts per image of a row's runs, or [] and a problem."""
    records = [each for run in row.runs if (each := _read(run.folder, problems)) is not None]
    if len(records) < len(row.runs):
        return []
    for run, other in zip(row.runs[1:], records[1:], strict=True):
        if why := why_not_paired(records[0], other):
            folders = f"{row.runs[0].folder} and {run.folder}"
            problems.append(f"no intervals for {row.name}: {folders}: {why}")
            return []
    return records


def _without_file(rows: Sequence[Row]) -> list[str]:
    """One line for all runs without counts per image."""
    runs = [run for row in rows for run in row.runs]
    missing = [run for run in runs if not (run.folder / IMAGES).is_file()]
    if not missing:
        return []
    names = [row.name for row in rows if any(run in missing for run in row.runs)]
    of_rows = "" if len(names) == len(rows) else f" for {'; '.join(names)}"
    return [
        f"no intervals{of_rows}: no {IMAGES} in {len(missing)} of {len(runs)} runs "
        "(older version); run evaluate"
    ]


def _read(folder: Path, problems: list[str] | None = None) -> PerImage | None:
    try:
        return read_per_image(folder)
    except DataError as error:
        if problems is not None:
            problems.append(str(error))
        return None


def _grouped(
    rows: Sequence[Row], records: Sequence[list[PerImage]], problems: list[str]
) -> tuple[list[_Group], dict[int, _Group]]:
    """Groups of rows on the same images, and the group of each row that has counts per image."""
    groups: list[_Group] = []
    place_of: dict[int, _Group] = {}
    for at, own in enumerate(records):
        if not own:
            continue
        reasons = [why_not_paired(group.first, own[0]) for group in groups]
        if "" in reasons:
            group = groups[reasons.index("")]
            group.places.append(at)
        else:
            group = _Group([at], own[0])
            if reasons:
                other = rows[groups[0].places[0]].name
                problems.append(f"{other} and {rows[at].name} are not compared: {reasons[0]}")
            groups.append(group)
        place_of[at] = group
    return groups, place_of


def _named(rows: Sequence[Row], places: Sequence[int]) -> str:
    counted = Counter(rows[at].name for at in places)
    return "; ".join(counted)
