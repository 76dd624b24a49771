"""What the README and docs/ tell people to type: fenced blocks, and the mark above each.

A mark is a comment that readers do not see: `<!-- run -->` for commands that a test runs as they
stand, `<!-- needs: WHAT -->` for those that cannot be run everywhere, `<!-- file: PATH -->` for the
content of a file.
"""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>run|needs|file)(?:: (?P<what>.+?))? -->\n)?"
    r"```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """mark: run, needs, file, or None. what: is needed, or the file's path. line: its first."""

    page: Path
    line: int
    mark: str | None
    what: str | None
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start("text")) + 1, **found.groupdict())
        for found in BLOCK.finditer(text)
    ]


def commands(page: Path) -> list[tuple[int, list[str]]]:
    """Line and words of every `python -m fcnexp.NAME ...`, without settings of the environment."""
    found = []
    for block in blocks(page):
        for number, line in enumerate(block.text.splitlines(), start=block.line):
            _, is_one, rest = line.partition("python -m fcnexp.")
            if is_one and not block.language:
                found.append((number, shlex.split(rest, comments=True)))
    return found


def write_files(page: Path, folder: Path) -> None:
    """Write the files that a page shows, as a reader would."""
    for block in blocks(page):
        if block.mark == "file":
            path = folder / str(block.what)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
