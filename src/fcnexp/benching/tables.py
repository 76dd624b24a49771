"""Tables of measurements for JSON, the terminal and Markdown."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import floor, log10
from statistics import median
from typing import Any

from fcnexp.benching.measure import faster


@dataclass
class Row:
    """Measurements of one candidate.

    seconds: one number per round; empty if nothing was timed. facts: further columns by header,
    text, numbers, or None for an empty cell. compared: True if its speed is compared to the bases.
    """

    name: str
    seconds: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    compared: bool = True


@dataclass
class Table:
    """Candidates for one task.

    bases: names of the rows that the speed of others is compared to. per: images per round, for a
    column of images per second. notes: explanations of the numbers.
    """

    title: str
    rows: list[Row]
    bases: tuple[str, ...] = ()
    per: float | None = None
    notes: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return the table as JSON values: all samples, and the numbers derived from them."""
        rows = [asdict(row) | self._derived(row) for row in self.rows]
        return asdict(self) | {"bases": list(self.bases), "rows": rows}

    def _derived(self, row: Row) -> dict[str, Any]:
        if not row.seconds:
            return {}
        return {
            "median": median(row.seconds),
            "times_as_fast_as": {b: self.speed(row, b) for b in self._present() if row.compared},
        }

    def speed(self, row: Row, base: str) -> float:
        """Speed of a row relative to a base, above 1 if it is faster."""
        return faster(row.seconds, next(r.seconds for r in self.rows if r.name == base))

    def _present(self) -> list[str]:
        names = [row.name for row in self.rows]
        return [base for base in self.bases if base in names]

    def cells(self) -> list[list[str]]:
        """Return the lines of the table, header first."""
        timed = any(row.seconds for row in self.rows)
        facts = list(dict.fromkeys(name for row in self.rows for name in row.facts))
        head = [""]
        if timed:
            head += ["median", "least to most"]
            head += ["images/s"] if self.per else []
            head += [f"times as fast as {base}" for base in self._present()]
        lines = [head + facts]
        for row in self.rows:
            line = [row.name]
            if timed:
                line += self._times(row)
            lines.append(line + [shown(row.facts.get(name)) for name in facts])
        return lines

    def _times(self, row: Row) -> list[str]:
        if not row.seconds:
            return ["-"] * (2 + bool(self.per) + len(self._present()))
        least, most = min(row.seconds), max(row.seconds)
        unit, scale = ("s", 1) if median(row.seconds) >= 0.5 else ("ms", 1000)
        cells = [
            f"{number(scale * median(row.seconds))} {unit}",
            f"{number(scale * least)} to {number(scale * most)}",
        ]
        if self.per:
            cells.append(number(self.per / median(row.seconds)))
        speeds = [self.speed(row, base) for base in self._present()]
        return cells + [f"{speed:.2f}" if row.compared else "-" for speed in speeds]

    def markdown(self) -> str:
        """Return the table as Markdown, with its notes below."""
        head, *lines = self.cells()
        rule = ["---"] + ["---:"] * (len(head) - 1)
        text = "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))
        notes = "".join(f"\n{note}" for note in self.notes)
        return f"**{self.title}**\n\n{text}\n" + (f"{notes}\n" if notes else "")


def shown(value: Any) -> str:
    """Format a cell: numbers by `number`, None as a dash."""
    if value is None:
        return "-"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    return str(value)


def number(value: float) -> str:
    """Format a number with three significant digits, integers in full, tiny ones with exponent."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.{2 - floor(log10(abs(value)))}f}"


def print_tables(tables: Sequence[Table]) -> None:
    """Print tables with their notes; 200 columns wide if stdout is not a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Drawn

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=200)
    for table in tables:
        head, *lines = table.cells()
        drawn = Drawn(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
        for i, name in enumerate(head):
            drawn.add_column(name, justify="right" if i else "left")
        for line in lines:
            drawn.add_row(*line)
        console.print(drawn)
        for note in table.notes:
            console.print(note)
