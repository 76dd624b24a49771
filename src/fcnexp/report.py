"""Runs side by side: `python -m fcnexp.report DIR [DIR ...] [output=FILE.md] [without=CLASS]`.

Every finished run below the folders is read. One row stands for all seeds of one setting, and says
only in what the rows differ. Mean IU comes with its sample standard deviation over seeds, gain is
what it is above the row before.

output: write the table, too: to a .md as printed, to a .csv unrounded and as fractions.
without: a class that the mean IU leaves out, as PAMI's table of masking does the background.
"""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from fcnexp.errors import ConfigError
from fcnexp.reporting.comparison import Row, compare, mean_iu_without
from fcnexp.reporting.records import read_runs
from fcnexp.reporting.tables import NAMES, OTHERS, percent, print_comparison

OPTIONS = ("output", "without")
FORMATS = (".md", ".csv")


def report(folders: Sequence[str], output: str | None, without: str | None) -> None:
    """Print the table, and write it where `output` says so. Raises UserError."""
    if output is not None and Path(output).suffix not in FORMATS:
        raise ConfigError(f"output={output}: it ends in {' or '.join(FORMATS)}, say report.md")
    finished, unfinished = read_runs([Path(folder) for folder in folders])
    rows, repeats = compare(finished, mean_iu_without(without))
    lines = cells(rows)
    of_what = f"mean IU without {without}" if without else "mean IU"
    print_comparison(lines, f"{len(finished) - len(repeats)} runs (%), {of_what}, ± over seeds")
    for folder in repeats:
        print(f"not counted, since its setting and seed were there before: {folder}")
    for folder in unfinished:
        print(f"not finished: {folder}")
    if output is not None:
        text = markdown(lines) if Path(output).suffix == ".md" else unrounded(rows)
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        Path(output).write_text(text, encoding="utf-8")
        print(f"written {output}")


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """The table as text, its header first. Gain and published figures only where there are any."""
    gains = len(rows) > 1
    papers = any(row.paper for row in rows)
    header = [*rows[0].told, "seeds", "mean IU", *["gain"] * gains, *OTHERS, "training (s)"]
    lines = [[*header, *["paper"] * papers]]
    for row in rows:
        scores = {NAMES[key]: percent(score) for key, score in row.scores.items()}
        spread = "" if row.spread is None else f" ± {percent(row.spread)}"
        gain = "" if row.gain is None else f"{100 * row.gain:+.1f}"
        line = [*row.told.values(), str(row.seeds), scores["mean IU"] + spread, *[gain] * gains]
        line += [scores[name] for name in OTHERS]
        line += ["-" if row.seconds is None else f"{row.seconds:.0f}"]
        lines.append(line + [row.paper or "-"] * papers)
    return lines


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first line is the header."""
    first, *others = [
        f"| {' | '.join(c.replace('|', chr(92) + '|') for c in li)} |" for li in lines
    ]
    return "\n".join([first, "|" + "---|" * len(lines[0]), *others]) + "\n"


def unrounded(rows: Sequence[Row]) -> str:
    """The table as CSV: scores as fractions, empty where there is none; `paper` in percent."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    others = [key for key in NAMES if key != "miou"]
    facts = ["seeds", "miou", "miou_sd", "miou_gain", *others, "train_seconds", "paper_percent"]
    writer.writerow([*rows[0].told, *facts])
    for row in rows:
        scores = [row.scores["miou"], row.spread, row.gain, *(row.scores[key] for key in others)]
        writer.writerow([*row.told.values(), row.seeds, *scores, row.seconds, row.paper])
    return text.getvalue()


def read_arguments(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Folders, and options by name. Raises ConfigError."""
    from fcnexp.config import did_you_mean

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
    from fcnexp import cli

    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    try:
        folders, options = read_arguments(sys.argv[1:])
        report(folders, options.get("output"), options.get("without"))
    except cli.MISTAKES as error:
        cli.fail(error)


if __name__ == "__main__":
    main()
