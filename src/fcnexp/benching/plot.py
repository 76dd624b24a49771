"""Panels of part `scale`: side, images at once, reading processes, jobs at once, memory."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from fcnexp.benching.leaks import IN_USE
from fcnexp.benching.tables import Row, Table
from fcnexp.system.atomic import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILE = "scale.png"
COLUMNS = 3


class Panel(NamedTuple):
    """One plot. lines: by name, what is across and what is upwards; log: both are logarithmic."""

    title: str
    across: str
    upwards: str
    lines: dict[str, tuple[list[float], list[float]]]
    log: bool = False


def draw(path: Path, tables: Sequence[Table]) -> None:
    """Write the plot of what has been measured so far."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = [panel(table) for table in tables]
    height = 4 * -(-len(panels) // COLUMNS)
    figure, places = plt.subplots(
        height // 4, COLUMNS, figsize=(5 * COLUMNS, height), squeeze=False, layout="constrained"
    )
    for place in places.flat[len(panels) :]:
        place.set_visible(False)
    for place, one in zip(places.flat, panels, strict=False):  # the last row may be wider
        _draw(place, one)
    with whole(path) as part:
        figure.savefig(part, dpi=110)
    plt.close(figure)


def _draw(place: "Axes", panel: Panel) -> None:
    for name, (across, upwards) in panel.lines.items():
        place.plot(across, upwards, "o-", label=name)
    if panel.log:
        place.set_xscale("log", base=2)
        place.set_yscale("log", base=2)
        place.yaxis.set_major_formatter("{x:g}")
    else:
        place.set_ylim(0, 1.2 * place.get_ylim()[1])
    place.set_xticks(across, [f"{value:g}" for value in across])
    place.minorticks_off()
    place.set_xlabel(panel.across)
    place.set_ylabel(panel.upwards)
    place.set_title(panel.title, fontsize=9, wrap=True)
    place.grid(alpha=0.3)
    place.legend()


def panel(table: Table) -> Panel:
    """What is drawn of a table of this part, which its first row's columns tell."""
    facts = table.rows[0].facts
    if "side" in facts:
        upwards = "seconds an image"
        return Panel(table.title, "side", upwards, _lines(table, "side", upwards), log=True)
    if "GiB" in facts:
        lines = {
            what: _points(table.rows, "after", what)
            for what in ("GiB", IN_USE)
            if facts[what] is not None
        }
        return Panel(table.title, table.rows[0].name, "GiB", lines)
    across = next(key for key in ("images at once", "workers", "jobs at once") if key in facts)
    upwards = "jobs a minute" if across == "jobs at once" else "images a second"
    return Panel(table.title, across, upwards, _lines(table, across, upwards))


def _lines(table: Table, across: str, upwards: str) -> dict[str, tuple[list[float], list[float]]]:
    names = dict.fromkeys(row.name for row in table.rows)
    return {
        name: _points([row for row in table.rows if row.name == name], across, upwards)
        for name in names
    }


def _points(rows: Sequence[Row], across: str, upwards: str) -> tuple[list[float], list[float]]:
    return [row.facts[across] for row in rows], [_value(row, upwards) for row in rows]


def _value(row: Row, upwards: str) -> float:
    if upwards == "seconds an image":
        return median(row.seconds) / row.facts["images"]
    if upwards == "images a second":
        return row.facts["images"] / median(row.seconds)
    if upwards == "jobs a minute":
        return 60 * row.facts["jobs"] / median(row.seconds)
    return row.facts[upwards]
