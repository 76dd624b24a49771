"""Plot of part `scale`: by image side, batch size, workers and concurrent jobs, and memory."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from fcnexp.benching.leaks import IN_USE
from fcnexp.benching.tables import Row, Table
from fcnexp.system.atomic import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILE = "scale.png"
COLUMNS = 3


class Panel(NamedTuple):
    """One plot. lines: x and y values by name. log: both axes are logarithmic."""

    title: str
    x: str
    y: str
    lines: dict[str, tuple[list[float], list[float]]]
    log: bool = False


def draw(path: Path, tables: Sequence[Table]) -> None:
    """Plot the tables measured so far."""
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
    with atomic_file(path) as part:
        figure.savefig(part, dpi=110)
    plt.close(figure)


def _draw(place: "Axes", panel: Panel) -> None:
    for name, (x, y) in panel.lines.items():
        place.plot(x, y, "o-", label=name)
    if panel.log:
        place.set_xscale("log", base=2)
        place.set_yscale("log", base=2)
        place.yaxis.set_major_formatter("{x:g}")
    else:
        place.set_ylim(0, 1.2 * place.get_ylim()[1])
    place.set_xticks(x, [f"{value:g}" for value in x])
    place.minorticks_off()
    place.set_xlabel(panel.x)
    place.set_ylabel(panel.y)
    place.set_title(panel.title, fontsize=9, wrap=True)
    place.grid(alpha=0.3)
    place.legend()


def panel(table: Table) -> Panel:
    """Return the plot of a table, chosen by the columns of its first row."""
    facts = table.rows[0].facts
    if "side" in facts:
        y = "seconds an image"
        return Panel(table.title, "side", y, _lines(table, "side", y), log=True)
    if "GiB" in facts:
        lines = {
            what: _points(table.rows, "after", what)
            for what in ("GiB", IN_USE)
            if facts[what] is not None
        }
        return Panel(table.title, table.rows[0].name, "GiB", lines)
    x = next(key for key in ("images at once", "workers", "jobs at once") if key in facts)
    y = "jobs a minute" if x == "jobs at once" else "images a second"
    return Panel(table.title, x, y, _lines(table, x, y))


def _lines(table: Table, x: str, y: str) -> dict[str, tuple[list[float], list[float]]]:
    names = dict.fromkeys(row.name for row in table.rows)
    return {name: _points([r for r in table.rows if r.name == name], x, y) for name in names}


def _points(rows: Sequence[Row], x: str, y: str) -> tuple[list[float], list[float]]:
    return [row.facts[x] for row in rows], [_value(row, y) for row in rows]


def _value(row: Row, y: str) -> float:
    if y == "seconds an image":
        return median(row.seconds) / row.facts["images"]
    if y == "images a second":
        return row.facts["images"] / median(row.seconds)
    if y == "jobs a minute":
        return 60 * row.facts["jobs"] / median(row.seconds)
    return row.facts[y]
