"""Folders of generated data: written once, atomically, and identified by their parameters."""

import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fcnexp.errors import DataError
from fcnexp.system.atomic import sync

MARKERS = ("shapes.json", "rooms.json")
REWRITE = "remove {folder} to have it generated again"


def cure(path: Path) -> str:
    """What to do about a damaged file: have its folder generated again, or fetch it again."""
    for folder in path.parents:
        if any((folder / marker).is_file() for marker in MARKERS):
            return REWRITE.format(folder=folder)
    return "fetch it again"


def written_once(
    root: Path, made_from: dict[str, Any], kind: str, write: Callable[[Path, dict[str, Any]], None]
) -> Path:
    """Return folder `root`, after writing it with `write` unless it is already complete.

    made_from: parameters of the content, plain values; written last, to the marker KIND.json.
    Raises DataError if the folder is incomplete or was made from other parameters.
    """
    if root.exists():
        return _checked(root, made_from, kind)
    # A unique name, since several processes may start concurrently.
    partial = root.parent / f".{root.name}.{uuid.uuid4().hex}.partial"
    try:
        write(partial, made_from)
        (partial / f"{kind}.json").write_text(json.dumps(made_from, indent=2) + "\n")
        for path in filter(Path.is_file, partial.rglob("*")):
            sync(path)  # atomic even in a power cut
        partial.rename(root)
    except OSError:
        if not root.exists():
            raise
        return _checked(root, made_from, kind)  # another process was faster
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root


def _checked(root: Path, made_from: dict[str, Any], kind: str) -> Path:
    """Return the existing folder `root` if its marker has these parameters."""
    marker = root / f"{kind}.json"
    try:
        found = json.loads(marker.read_text()) if marker.is_file() else None
    except (ValueError, RecursionError):  # not UTF-8 is a ValueError too
        raise DataError(f"{marker}: damaged; {REWRITE.format(folder=root)}") from None
    if found != made_from:
        state = f"holds `{kind}` made from {found}" if found else f"is incomplete, no {kind}.json"
        raise DataError(
            f"{root} {state}, but {made_from} is requested; "
            "delete the folder to have it written again, or choose another one"
        )
    return root
