"""Compare runs: `python -m fcnexp.report DIR [DIR ...] [output=WHERE] [without=CLASS] ...`.

Reads every finished run below the folders. Each row is one setting, averaged over its seeds, and is
named by the settings in which the rows differ. Mean IU is given with its sample standard deviation
over seeds; gain is the difference to the row above, with a 95 % interval if the runs kept their
counts per image. If a run names a published row, another table compares the two. Two run folders
are tested against each other; they must have been scored on the same images.

output: folder for report.html (one self-contained page), report.md and report.csv (unrounded,
    fractions); default: the first DIR. A file name ending in .html, .md or .csv writes only that.
without: class to leave out of the mean IU, such as the background in PAMI's table of masking; or
    `absent`: those not in the ground truth, as in the tables of SIFT Flow.
sizes: limits between sizes of objects, root of the area in pixels; default: 8,16,32,64,128.

`python -m fcnexp.report diff RUN RUN` says why two scores differ: settings, seed, code, packages,
hardware, data, weights, convention.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from fcnexp import __version__
from fcnexp.errors import ConfigError
from fcnexp.papers.published import ABSENT
from fcnexp.reporting.writing import report
from fcnexp.scoring.objects import SIZES

OPTIONS = ("output", "without", "sizes")


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


def read_sizes(text: str | None) -> tuple[float, ...]:
    """Limits between sizes of objects. Raises ConfigError."""
    if text is None:
        return SIZES
    try:
        sizes = [float(each) for each in text.strip("[]").split(",")]
    except ValueError:
        sizes = []
    if not sizes or not sizes[0] > 0 or not sizes[-1] < float("inf") or sizes != sorted({*sizes}):
        raise ConfigError(
            f"sizes={text}: must be increasing numbers above 0, in pixels, such as sizes=8,16,32"
        )
    return tuple(sizes)


def print_causes(arguments: Sequence[str]) -> None:
    """Print the scores of two runs and every recorded difference between them. Raises UserError."""
    from fcnexp.reporting.records import percent
    from fcnexp.run import causes, certificate

    if len(arguments) != 2:
        raise ConfigError(
            "diff: give two runs, as in python -m fcnexp.report diff outputs/train/A "
            "outputs/train/B"
        )
    pair = [certificate.read_or_record(Path(argument)) for argument in arguments]
    mean_ius = [percent((each["outcome"]["scores"] or {}).get("miou")) for each in pair]
    print(f"{'mean IU':<11} {mean_ius[0]} -> {mean_ius[1]} %")
    found = causes.causes(*pair)
    for cause in found:
        print(f"{cause.kind:<11} {cause.text}")
    unknown = causes.not_compared(*pair)
    if unknown:
        print(f"not compared: {', '.join(unknown)}, which one of the runs has not recorded")
    if not found:
        print("no recorded difference")


def main() -> None:
    """Entry point."""
    from fcnexp.cli import messages

    if {"-h", "--help", "--version"} & set(sys.argv[1:]):
        print(f"fcnexp {__version__}" if "--version" in sys.argv[1:] else __doc__)
        return
    try:
        if sys.argv[1:2] == ["diff"] and not Path("diff").is_dir():
            print_causes(sys.argv[2:])
            return
        folders, options = read_arguments(sys.argv[1:])
        sizes = read_sizes(options.get("sizes"))
        without = options.get("without")
        without = ABSENT if without == "absent" else without
        report(folders, options.get("output"), without, sizes)
    except Exception as error:
        messages.fail_or_raise(error, "report")


if __name__ == "__main__":
    main()
