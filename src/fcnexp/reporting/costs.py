"""What rows cost: time, memory, size, and the paper's time of one image beside ours."""

from collections.abc import Sequence

from fcnexp.reporting.comparison import Row

# Columns by the name under which records hold them; see `task.cost.cost_facts`.
COSTS = {
    "train_seconds": "training (s)",
    "images_per_second": "training images/s",
    "ms_per_image": "scoring, ms/image",
    "peak_memory": "peak memory (MiB)",
    "parameters": "parameters",
}
PUBLISHED_TIME = "time of one image, published"


def costs(rows: Sequence[Row]) -> dict[str, list[float | None]]:
    """Means over seeds, by column, one for each row; only columns of which anything is known."""
    known = {name: [row.fact(key) for row in rows] for key, name in COSTS.items()}
    memory = COSTS["peak_memory"]
    known[memory] = [None if bytes_ is None else bytes_ / 2**20 for bytes_ in known[memory]]
    return {name: values for name, values in known.items() if any(v is not None for v in values)}


def cost_cells(rows: Sequence[Row]) -> list[list[str]]:
    """The same as text, a header first, with the paper's time of one image where there is any."""
    columns = {name: [in_words(v) for v in values] for name, values in costs(rows).items()}
    if times := published_times(rows):
        columns[PUBLISHED_TIME] = times
    names = [row.name for row in rows]
    return [["row", *columns], *map(list, zip(names, *columns.values(), strict=True))]


def published_times(rows: Sequence[Row]) -> list[str]:
    """What the paper says of one image's time, for each row; empty where it says nothing of any."""
    times = [row.paper.time if row.paper and row.paper.time else "-" for row in rows]
    return times if any(time != "-" for time in times) else []


def in_words(value: float | None) -> str:
    """A number with three digits, or all that it has before the point."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
