"""Four panels of part `scale`: side, images at once, reading processes, memory over steps."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from fcnexp.benching.tables import Row, Table

FILE = "scale.png"


def draw(path: Path, tables: Sequence[Table]) -> None:
    """Write the plot of what has been measured so far; panels without a table stay away."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = [(table, panel) for table in tables if (panel := panel_of(table)) is not None]
    figure, places = plt.subplots(2, 2, figsize=(10, 7.5), squeeze=False)
    for place in places.flat:
        place.set_visible(False)
    for place, (table, (x, y, log)) in zip(places.flat, panels, strict=False):
        place.set_visible(True)
        for name in dict.fromkeys(row.name for row in table.rows):
            rows = [row for row in table.rows if row.name == name]
            values = [row.facts[x] for row in rows]
            place.plot(values, [height(row, y) for row in rows], "o-", label=name)
            place.set_xticks(values, [str(value) for value in values])
        if log:
            place.set_xscale("log", base=2)
            place.set_yscale("log", base=2)
            place.set_xticks(values, [str(value) for value in values])
            place.yaxis.set_major_formatter("{x:g}")
        else:
            place.set_ylim(0, 1.2 * place.get_ylim()[1])
        place.set_xlabel("steps" if x == "after" else x)
        place.set_ylabel(y)
        place.set_title(table.title, fontsize=9, wrap=True)
        place.grid(alpha=0.3)
        place.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def panel_of(table: Table) -> tuple[str, str, bool] | None:
    """What is drawn of a table: across, upwards, and whether both are logarithmic."""
    facts = table.rows[0].facts
    if "side" in facts:
        return "side", "seconds an image", True
    if "images at once" in facts:
        return "images at once", "images a second", False
    if "workers" in facts:
        return "workers", "images a second", False
    if table.rows[0].name == "training":
        return "after", "GiB", False
    return None


def height(row: Row, y: str) -> Any:
    """One point of a panel."""
    if y == "GiB":
        return row.facts[y]
    seconds = median(row.seconds)
    return seconds if y.startswith("seconds") else row.facts["images"] / seconds
