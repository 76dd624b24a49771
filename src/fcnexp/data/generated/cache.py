"""Folders of generated data: written whole once, and known by what they were made from."""

import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fcnexp.errors import DataError
from fcnexp.system.atomic import sync


def written_once(
    root: Path, made_from: dict[str, Any], kind: str, write: Callable[[Path, dict[str, Any]], None]
) -> Path:
    """Folder `root`, written by `write` unless it is complete already.

    made_from: plain values that say what is in it; they are its marker, KIND.json, written last.
    Raises DataError where the folder is incomplete or was made from other values.
    """
    if root.exists():
        return _checked(root, made_from, kind)
    # A name of its own for each process, since several may start at once.
    partial = root.parent / f".{root.name}.{uuid.uuid4().hex}.partial"
    try:
        write(partial, made_from)
        (partial / f"{kind}.json").write_text(json.dumps(made_from, indent=2) + "\n")
        for path in filter(Path.is_file, partial.rglob("*")):
            sync(path)  # a power cut, too, leaves all or nothing
        partial.rename(root)
    except OSError:
        if not root.exists():
            raise
        return _checked(root, made_from, kind)  # another process was faster
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root


def _checked(root: Path, made_from: dict[str, Any], kind: str) -> Path:
    """The existing folder `root`, once its marker shows that it was made just so."""
    marker = root / f"{kind}.json"
    found = json.loads(marker.read_text()) if marker.is_file() else None
    if found != made_from:
        holds = (
            f"holds `{kind}` made from {found}" if found else f"has no {kind}.json: not complete"
        )
        raise DataError(
            f"{root} {holds}, but {made_from} is asked for; "
            "delete the folder to have it written anew, or name another one"
        )
    return root
