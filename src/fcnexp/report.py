"""Compare runs: `python -m fcnexp.report DIR [DIR ...] [output=WHERE] [without=CLASS]`.

Reads every finished run below the folders. Each row is one setting, averaged over its seeds, and is
named by the settings in which the rows differ. Mean IU is given with its sample standard deviation
over seeds; gain is the difference to the row above. If a run names a published row, a second table
compares the two.

output: folder for report.html (one self-contained page), report.md and report.csv (unrounded,
    fractions); default: the first DIR. A file name ending in .html, .md or .csv writes only that.
without: class to leave out of the mean IU, such as the background in PAMI's table of masking.
"""

import sys
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

OPTIONS = ("output", "without")
FORMATS: dict[str, Callable[[Summary], str]] = {".html": page, ".md": markdown, ".csv": unrounded}


def report(folders: Sequence[str], output: str | None, without: str | None) -> None:
    """Print the tables and write the report files; see the module. Raises UserError.

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


def read_arguments(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Split arguments into folders and options by name. Raises ConfigError."""
    from fcnexp.config.values import did_you_mean

    folders: list[str] = []
    options: dict[str, str] = {}
    for argument in arguments:
        name, given, value = argument.partition("=")
        if not given or Path(argument).is_dir():
            folders.append(argument)
        elif name in OPTIONS and value:
            options[name] = value
        elif name in OPTIONS:
            raise ConfigError(f"{argument}: no value given; add one, or leave out {name}")
        else:
            near = did_you_mean(name, OPTIONS)
            raise ConfigError(f"{name}: no such option{near}; choose one of {', '.join(OPTIONS)}")
    if not folders:
        raise ConfigError("no folder given; add one, as in python -m fcnexp.report outputs/sweep")
    return folders, options


def main() -> None:
    """Entry point."""
    from fcnexp.cli import messages

    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    try:
        folders, options = read_arguments(sys.argv[1:])
        report(folders, options.get("output"), options.get("without"))
    except Exception as error:
        messages.fail_or_raise(error, "report")


def _targets(output: Path) -> list[Path]:
    """Paths of the files to write."""
    if output.is_dir() or not output.suffix:
        return [output / f"report{suffix}" for suffix in FORMATS]
    if output.suffix not in FORMATS:
        raise ConfigError(
            f"output={output}: must be a folder, or a file ending in {', '.join(FORMATS)}"
        )
    return [output]


if __name__ == "__main__":
    main()
