"""Print a comparison of runs and write it as HTML, Markdown and CSV."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fcnexp.errors import ConfigError
from fcnexp.reporting.page import page
from fcnexp.reporting.summary import (
    VERSUS_PAPER,
    Summary,
    leftovers,
    notes,
    paper_tables,
    read_summary,
    score_cells,
)
from fcnexp.reporting.table_files import markdown, unrounded
from fcnexp.reporting.tables import print_comparison
from fcnexp.system.atomic import write_atomically

FORMATS: dict[str, Callable[[Summary], str]] = {".html": page, ".md": markdown, ".csv": unrounded}


def report(folders: Sequence[str], output: str | None, without: str | None) -> None:
    """Print the tables and write the report files. Raises UserError.

    folders: run folders, or folders that contain them.
    """
    targets = _targets(Path(folders[0]) if output is None else Path(output))
    summary = read_summary(folders, without)
    print_summary(summary)
    for target in targets:
        text = FORMATS[target.suffix](summary)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, text)
    print(f"wrote {', '.join(map(str, targets))}")


def print_summary(summary: Summary) -> None:
    """Print the rows, their comparison with the paper, notes, and runs that are left out."""
    if summary.rows:
        print_comparison(score_cells(summary.rows), summary.title)
        for source, lines in paper_tables(summary.rows).items():
            narrow = [[c.replace(" (", "\n(").replace(" / ", "/") for c in line] for line in lines]
            print_comparison(narrow, f"{VERSUS_PAPER}, {source}")
    for line in [*notes(summary), *leftovers(summary)]:
        print(line)


def _targets(output: Path) -> list[Path]:
    """Paths of the files to write."""
    if output.is_dir() or not output.suffix:
        return [output / f"report{suffix}" for suffix in FORMATS]
    if output.suffix not in FORMATS:
        raise ConfigError(
            f"output={output}: must be a folder, or a file ending in {', '.join(FORMATS)}"
        )
    return [output]
