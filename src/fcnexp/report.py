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
from collections.abc import Sequence
from pathlib import Path

from fcnexp.errors import ConfigError
from fcnexp.reporting.writing import report

OPTIONS = ("output", "without")


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


if __name__ == "__main__":
    main()
