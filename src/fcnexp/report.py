"""Runs side by side: `python -m fcnexp.report DIR [DIR ...] [output=WHERE] [without=CLASS]`.

Every finished run below the folders is read. One row stands for all seeds of one setting, and says
only in what the rows differ. Mean IU comes with its sample standard deviation over seeds, gain is
what it is above the row before; beside it stands what the paper has, where a run says so.

output: a folder for report.html (one page that needs nothing else), report.md and report.csv
    (unrounded, fractions); without it they go to the first DIR. A file's name that ends in .html,
    .md or .csv: only that one.
without: a class that the mean IU leaves out, as PAMI's table of masking does the background.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fcnexp.errors import ConfigError
from fcnexp.reporting.page import page
from fcnexp.reporting.summary import (
    BESIDE,
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
    """Print the tables, and write them and the page; see the module. Raises UserError.

    folders: of runs, or holding folders of runs.
    """
    targets = _targets(Path(folders[0]) if output is None else Path(output))
    summary = read_summary(folders, without)
    print_summary(summary)
    for target in targets:
        text = FORMATS[target.suffix](summary)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, text)
    print(f"written {', '.join(map(str, targets))}")


def print_summary(summary: Summary) -> None:
    """Print the rows, the paper's beside them, what is to be known of both, and what is missing."""
    if summary.rows:
        print_comparison(score_cells(summary.rows), summary.title)
        for source, lines in paper_tables(summary.rows).items():
            narrow = [[c.replace(" (", "\n(").replace(" / ", "/") for c in line] for line in lines]
            print_comparison(narrow, f"{BESIDE}, {source}")
    for line in [*notes(summary), *leftovers(summary)]:
        print(line)


def read_arguments(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Folders, and options by name. Raises ConfigError."""
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
            raise ConfigError(f"{argument}: a value is missing; leave it out, or see --help")
        else:
            near = did_you_mean(name, OPTIONS)
            raise ConfigError(f"{name}: no such option{near}; there are {', '.join(OPTIONS)}")
    if not folders:
        raise ConfigError("no folder given; say which, as in python -m fcnexp.report outputs/sweep")
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
    """The files to write."""
    if output.is_dir() or not output.suffix:
        return [output / f"report{suffix}" for suffix in FORMATS]
    if output.suffix not in FORMATS:
        raise ConfigError(
            f"output={output}: a file's name ends in {', '.join(FORMATS)}; or give a folder"
        )
    return [output]


if __name__ == "__main__":
    main()
