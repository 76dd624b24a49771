"""docs/measured.yaml: the measured figures of README and docs/, and the commands behind them."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import yaml
from documents import ROOT, blocks

TABLE = "docs/measured.yaml"
UNITS = {"ms": 1e-3, "s": 1, "min": 60, "MB": 1e6, "GB": 1e9, "%": 1e-2, "": 1}  # in base units
TIMES = ("ms", "s", "min")
WITHIN = "30 %"  # of a time: other work on the machine, another clock rate
BRACED = re.compile(r"\{(.+?)\}")
FIGURE = re.compile(r"([\d.]+) ?(%|[A-Za-z]*)")


class Passage(NamedTuple):
    """Part of a page that names one or more figures; docs/measured.yaml explains each field."""

    page: str
    text: str
    read: str
    find: tuple[str, ...] = ()
    unit: str = ""
    within: str | float | None = None
    rate: bool = False

    def said(self) -> list[str]:
        """Figures as the page spells them."""
        return BRACED.findall(self.text)

    def printed(self) -> str:
        """The text as the page prints it."""
        return BRACED.sub(r"\1", self.text)

    def labels(self) -> list[str]:
        """Name of each figure in the printed table."""
        if self.find and self.read.endswith(".json"):
            return list(self.find)
        if self.read in ("time", "memory"):
            return [self.read]
        return [part.strip("| ")[-64:] for part in BRACED.split(self.text)[:-1:2]]

    def unit_of(self, said: str) -> str:
        """Last unit of a figure: `s` of `2 min 40 s`."""
        return FIGURE.findall(said)[-1][1] or self.unit

    def tolerance(self, said: str) -> str:
        """Tolerance of a figure, as printed. Raises ValueError if it needs one and has none."""
        if self.is_time(said):
            return WITHIN
        if self.within is None:
            raise ValueError(f"{self.text}: within is missing; only times have a default")
        return str(self.within)

    def is_close(self, value: float, said: str) -> bool:
        """Whether a value in base units is a figure's, within the tolerance."""
        expected, within = amount(said, self.unit), self.tolerance(said)
        relative = within.endswith("%")
        most = amount(within) * expected if relative else amount(within, self.unit_of(said))
        return abs(value - expected) <= most * (1 + 1e-9)

    def is_time(self, said: str) -> bool:
        """Whether a figure is a time."""
        return self.unit_of(said) in TIMES

    def is_paced(self, said: str) -> bool:
        """Whether a figure depends on how fast the machine is."""
        return self.rate or self.is_time(said)

    def at_pace(self, value: float, said: str, pace: float) -> float:
        """The value on a machine as fast as the figure's. pace: present one, relative to that."""
        if self.rate:
            return value * pace
        return value / pace if self.is_time(said) else value

    def with_figures(self, figures: Iterable[str]) -> "Passage":
        """Return the passage with other figures in its braces."""
        others = iter(figures)
        return self._replace(text=BRACED.sub(lambda _: "{" + next(others) + "}", self.text))


class Run(NamedTuple):
    """Commands that a page prints, and the passages that name what they give."""

    name: str
    page: str
    commands: list[str]
    passages: list[Passage]
    before: list[str]
    after: list[str]
    needs: list[str]
    follows: str | None
    replace: dict[str, str]
    pace: float | None = None  # of the machine when the times were taken; see `docs_numbers.pace`

    def typed(self) -> list[str]:
        """The commands as they are run, with parts of them replaced."""
        lines = "\n".join(self.commands)
        for old, new in self.replace.items():
            lines = lines.replace(old, new)
        return [lines]


def load(root: Path = ROOT) -> list[Run]:
    """Return the runs of the table. Raises TypeError if an entry has an unknown key."""
    runs: dict[str, Run] = {}
    for name, entry in yaml.safe_load((root / TABLE).read_text()).items():
        runs[name] = read_run(root, name, runs, **entry)
    return list(runs.values())


def read_run(
    root: Path,
    name: str,
    earlier: dict[str, Run],
    *,
    page: str,
    run: list[str] | str,
    figures: list[dict],
    before: Iterable[str] = (),
    after: Iterable[str] = (),
    needs: Iterable[str] = (),
    follows: str | None = None,
    replace: dict[str, str] | None = None,
    pace: float | None = None,
) -> Run:
    """Return an entry of the table as a run. earlier: those that it may follow."""
    passages = []
    for each in figures:
        find = each.get("find", [])
        found = (find,) if isinstance(find, str) else tuple(find)
        passages.append(Passage(**{"page": page, **each, "find": found}))
    if run == "page":
        run = [block.text for block in blocks(root / page) if block.mark == "run"]
    needed = [*(earlier[follows].needs if follows else ()), *needs]
    return Run(
        name, page, [*run], passages, [*before], [*after], needed, follows, replace or {}, pace
    )


def amount(figure: str, unit: str = "") -> float:
    """Value in seconds, bytes or as a fraction: `2 min 40 s` is 160. unit: if it names none."""
    return sum(float(number) * UNITS[own or unit] for number, own in FIGURE.findall(figure))


def spelled(value: float, like: str, unit: str = "") -> str:
    """Spell a value in the unit and with the decimals of another figure."""
    if "min" in like:
        minutes, seconds = divmod(round(value), 60)
        return " ".join([f"{minutes} min"] * (minutes > 0) + [f"{seconds} s"] * (seconds > 0))
    number, space, own = like.partition(" ")
    decimals = len(number.partition(".")[2])
    return f"{value / UNITS[own or unit]:.{decimals}f}{space}{own}"


def write(root: Path, old: Passage, new: Passage) -> None:
    """Replace a passage on its page and in the table. Raises ValueError if it is not there once."""
    pairs = {old.page: (old.printed(), new.printed()), TABLE: (old.text, new.text)}
    for name, (before, after) in pairs.items():
        text = (root / name).read_text()
        if text.count(before) != 1:
            raise ValueError(f"{name} has this {text.count(before)} times: {before}")
        (root / name).write_text(text.replace(before, after))


def write_pace(root: Path, run: str, pace: float) -> None:
    """Set the pace of a run in the table. Raises ValueError if the table has no such run."""
    text = (root / TABLE).read_text()
    entry = re.compile(rf"^({re.escape(run)}:.*\n)(?:  pace: .*\n)?", re.MULTILINE)
    changed, count = entry.subn(rf"\g<1>  pace: {pace:.2f}\n", text)
    if count != 1:
        raise ValueError(f"{TABLE} has {count} runs {run}")
    (root / TABLE).write_text(changed)
