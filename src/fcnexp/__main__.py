"""List the commands: `python -m fcnexp`."""

import ast
import sys
from pathlib import Path

from fcnexp import __version__

HOME = Path(__file__).parent
COMMANDS = (
    *("train", "evaluate", "predict", "report", "verify", "sweep", "explain", "prepare"),
    *("bounds", "export", "dashboard", "bench"),
)


def lines() -> list[str]:
    """One line per command, from the first line of its module."""
    found = []
    for name in COMMANDS:
        file = HOME / f"{name}.py"
        text = (file if file.is_file() else HOME / name / "__main__.py").read_text("utf-8")
        summary = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
        what, _, example = summary.partition(": `")
        found.append(f"{name:<10} {what:<40} {example.partition('`')[0]}")
    return found


def main() -> None:
    """Entry point; exit code 1 if a command was named, which has a module of its own."""
    given = sys.argv[1:2]
    if given == ["--version"]:
        print(f"fcnexp {__version__}")
    elif given and given[0] in COMMANDS:
        print(f"error: each command is a module: type python -m fcnexp.{given[0]}", file=sys.stderr)
        sys.exit(1)
    elif given and given[0] not in ("-h", "--help"):
        listed = ", ".join(COMMANDS)
        print(f"error: {given[0]}: no such command; choose one of {listed}", file=sys.stderr)
        sys.exit(1)
    else:
        print("\n".join([*lines(), "", "--help lists the options of each; README.md says more"]))


if __name__ == "__main__":
    main()
