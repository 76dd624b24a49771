"""Paths as messages show them: short, from the current folder, where that is possible."""

from pathlib import Path


def short(path: str | Path) -> str:
    """Return a path below the current folder relative to it, and any other as it is."""
    path = Path(path)
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere; the current folder is gone
        return str(path)
