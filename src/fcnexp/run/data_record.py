"""The data that a run was begun with, and whether it is still the same. Imports no torch.

`data.json` in a run's folder holds every list, the class names, and the size and modification time
of every file that the run reads. Contents are not read: a file whose time differs has changed, so
a data set that was moved is the same if its times moved with it (`mv`, `cp -a`, `rsync -a`). Data
whose folder is gone cannot be compared: what is done then stays done. Generated data has no record.
"""

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fcnexp import IMAGE_SUFFIXES
from fcnexp.config.identity import ROOTS, counted
from fcnexp.errors import ConfigError
from fcnexp.reporting.records import JOB, RESULT
from fcnexp.system.atomic import write_atomically

if TYPE_CHECKING:
    from fcnexp.data.sample import Samples

DATA = "data.json"
NAMED = 3  # changed files, class names, that a message names


def roots_of(config: dict[str, Any]) -> dict[str, str]:
    """Where a plain config's data lies, by key; empty if it is generated."""
    data = counted(config).get("data") or {}
    return {key: data[key] for key in ROOTS if isinstance(data.get(key), str)}


def write(folder: Path, config: dict[str, Any], halves: Sequence["Samples"]) -> None:
    """Write the record of what is trained on and scored; none for generated data."""
    if not (roots := roots_of(config)):
        return
    given = {key: os.path.abspath(Path(config["data"][key]).expanduser()) for key in roots}
    files: dict[str, dict[str, Any]] = {}
    for path in (path for half in halves for i in range(len(half)) for path in half.paths(i)):
        home, name = os.path.split(path)
        files.setdefault(home, {})[name] = _size_and_time(path)
    lists = {_key(path, given): _content(path) for half in halves for path in half.lists}
    packed = zlib.compress(json.dumps({_key(k, given): v for k, v in files.items()}).encode())
    record = {"roots": roots, "lists": lists, "files": base64.b85encode(packed).decode()}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / DATA, json.dumps(record, indent=2) + "\n")


def changes(folder: Path, roots: dict[str, str] | None = None) -> str:
    """What differs from the folder's record, in words; empty if nothing does, or there is none.

    roots: where the data lies now, if not where it was. Raises ConfigError on a damaged record.
    """
    try:
        record = json.loads((folder / DATA).read_bytes())
        recorded, lists = dict(record["roots"]), dict(record["lists"])
        files = json.loads(zlib.decompress(base64.b85decode(record["files"])))
    except FileNotFoundError:
        return ""
    except (ValueError, KeyError, TypeError, zlib.error):
        raise ConfigError(f"{folder / DATA}: damaged; remove it if the data is unchanged") from None
    roots = recorded | (roots or {})
    if roots == recorded and not all(map(os.path.isdir, roots.values())):
        return ""
    told = [
        _difference(key.removeprefix("root/"), was, now)
        for key, was in lists.items()
        if (now := _content(_place(key, roots))) != was
    ]
    changed = [
        f"{home}/{name}".removeprefix("root/")
        for home, names in files.items()
        for place in [_place(home, roots)]
        for name, was in names.items()
        if _size_and_time(f"{place}/{name}") != was
    ]
    if changed:
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        told.append(f"files ({', '.join(changed[:NAMED])}{more})")
    return ", ".join(told)


def refuse_changed(folders: Iterable[Path], roots: dict[str, str] | None = None) -> None:
    """Refuse to report or continue runs whose data has changed. Raises ConfigError on the first.

    Runs that share their data, as the jobs of a sweep do, are compared once.
    """
    seen = set()
    for folder in folders:
        trained = any((folder / sign).exists() for sign in (RESULT, "checkpoints"))
        if not trained or not (folder / DATA).is_file():
            continue
        text = (folder / DATA).read_bytes()
        if text not in seen and (told := changes(folder, roots)):
            key = "hydra.sweep.dir" if (folder / JOB).exists() else "hydra.run.dir"
            raise ConfigError(
                f"{folder}: the data has changed since this run began: {told}; give another {key}, "
                f"put the data back, or remove {folder} to train it again"
            )
        seen.add(text)


def _size_and_time(path: str | Path) -> list[int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _content(path: str | Path) -> Any:
    """What a list or a folder of images names: how many, and a digest; classes.yaml as it is."""
    path = Path(path)
    try:
        if path.is_dir():
            names = os.listdir(path)
            lines = sorted(name for name in names if name.lower().endswith(IMAGE_SUFFIXES))
        elif path.name == "classes.yaml":
            return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        else:
            text = path.read_text(encoding="utf-8-sig", errors="replace")
            lines = [line.strip() for line in text.splitlines() if line.strip()]
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return [len(lines), hashlib.sha256("\n".join(lines).encode(errors="replace")).hexdigest()]


def _difference(name: str, was: Any, now: Any) -> str:
    if isinstance(was, dict):  # classes.yaml
        new = now.get("classes") if isinstance(now, dict) else None
        pairs = zip_longest(was["classes"], new if isinstance(new, list) else [], fillvalue="none")
        renamed = [f"{old} -> {new}" for old, new in pairs if old != new]
        return f"class names ({', '.join(renamed[:NAMED])})" if renamed else name
    before, after = ((counts or [0])[0] for counts in (was, now))
    return f"{name} ({before} -> {after} names)" if before != after else f"{name} (other names)"


def _key(path: str | Path, given: dict[str, str]) -> str:
    """A path with the key of the root above it in that root's place, else absolute."""
    path = os.path.abspath(path)
    for key in sorted(given, key=lambda key: -len(given[key])):
        if path.startswith(given[key] + os.sep):
            return key + path[len(given[key]) :]
    return path


def _place(key: str, roots: dict[str, str]) -> str:
    first = key.split(os.sep)[0]
    return roots[first] + key[len(first) :] if first in roots else key
