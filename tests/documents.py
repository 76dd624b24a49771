"""Fenced blocks of the README and docs/, with the mark above each.

A mark is an HTML comment, invisible to readers: `<!-- run -->` for commands that a test runs
unchanged, or Python that tests/library/test_python_page.py types; `<!-- needs: WHAT -->` for
commands that cannot run everywhere, `<!-- file: PATH -->` for the content of a file.
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
    """mark: run, needs, file or None. what: requirement, or path of the file. line: of the text."""

    page: Path
    line: int
    mark: str | None
    what: str | None
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start("text")) + 1, **found.groupdict())
        for found in BLOCK.finditer(text)
    ]


def commands(page: Path) -> list[tuple[int, list[str]]]:
    """Return the line number and the words after `python -m fcnexp.` of every such command."""
    found = []
    for block in blocks(page):
        for number, line in enumerate(block.text.splitlines(), start=block.line):
            _, is_one, rest = line.partition("python -m fcnexp.")
            if is_one and not block.language:
                found.append((number, shlex.split(rest, comments=True)))
    return found


def write_files(page: Path, folder: Path) -> None:
    """Write the files whose content a page shows."""
    for block in blocks(page):
        if block.mark == "file":
            path = folder / str(block.what)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
