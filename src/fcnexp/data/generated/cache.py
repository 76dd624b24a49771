"""Folders of generated data: written once, atomically, and identified by their parameters."""

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
    found = json.loads(marker.read_text()) if marker.is_file() else None
    if found != made_from:
        state = f"holds `{kind}` made from {found}" if found else f"is incomplete, no {kind}.json"
        raise DataError(
            f"{root} {state}, but {made_from} is requested; "
            "delete the folder to have it written again, or choose another one"
        )
    return root
