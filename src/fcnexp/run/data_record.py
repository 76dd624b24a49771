"""Record of a run's data, and the check that the data is unchanged. Imports no torch.

`data.json` holds every list, the class names, and size and modification time of each file that the
run reads. File contents are not compared, so moved or copied data must keep its times (`mv`,
`cp -a`, `rsync -a`). If the data's folder is gone, finished runs stay finished. Generated data has
no record.
"""

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from fcnexp import IMAGE_SUFFIXES
from fcnexp.config.identity import ROOTS, counted
from fcnexp.errors import ConfigError
from fcnexp.reporting.records import JOB, RESULT
from fcnexp.system.atomic import write_atomically
from fcnexp.system.bounded import read_yaml

if TYPE_CHECKING:
    from fcnexp.data.sample import Samples

DATA = "data.json"
MOST_BYTES = 2**28  # of the record of files: two million of them
NAMED = 3  # changed files or class names that a message lists


def roots_of(config: dict[str, Any]) -> dict[str, str]:
    """Root folders of a plain config's data, by key; empty for generated data."""
    data = counted(config).get("data") or {}
    return {key: data[key] for key in ROOTS if isinstance(data.get(key), str)}


def write(folder: Path, config: dict[str, Any], splits: Sequence["Samples"]) -> None:
    """Write the record of the splits that a run trains and scores on, unless they are generated."""
    if not (roots := roots_of(config)):
        return
    given = {key: os.path.abspath(Path(config["data"][key]).expanduser()) for key in roots}
    paths = [str(path) for split in splits for i in range(len(split)) for path in split.paths(i)]
    files = {_key(path, given): _size_and_time(path) for path in sorted(paths)}
    lists = {_key(path, given): _content(path) for split in splits for path in split.lists}
    record = {"roots": roots, "lists": lists, "files": packed(files)}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / DATA, json.dumps(record, indent=2) + "\n")


class Record(NamedTuple):
    """Content of data.json. Keys of lists and files begin with a root's key, or are absolute.

    roots: folders by key. lists: number and digest of their names, or classes.yaml as parsed.
    files: size in bytes and modification time in nanoseconds.
    """

    roots: dict[str, str]
    lists: dict[str, Any]
    files: dict[str, list[int] | None]


def read(folder: Path) -> Record | None:
    """Return the record of a run's data, None if it has none. Raises ConfigError if damaged."""
    try:
        record = json.loads((folder / DATA).read_bytes())
        files = unpacked(record["files"])
        return Record(dict(record["roots"]), dict(record["lists"]), files)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, zlib.error):
        raise ConfigError(f"{folder / DATA}: damaged; remove it if the data is unchanged") from None


def changes(folder: Path, roots: dict[str, str] | None = None) -> str:
    """Describe how the data differs from the folder's record; "" if unchanged or not recorded.

    roots: where the data is now, if it was moved. Raises ConfigError if the record is damaged.
    """
    record = read(folder)
    if record is None:
        return ""
    roots = record.roots | (roots or {})
    if roots == record.roots and not all(map(os.path.isdir, roots.values())):
        return ""
    found = list_changes(record.lists, lists_now(record.lists, roots))
    changed = [
        name.removeprefix("root/")
        for name, was in record.files.items()
        if _size_and_time(place(name, roots)) != was
    ]
    return ", ".join([*found, *([f"files ({names(changed)})"] if changed else [])])


def lists_now(lists: Iterable[str], roots: dict[str, str]) -> dict[str, Any]:
    """Content of these lists, as in a record, as they are now. roots: where the data is."""
    return {key: _content(place(key, roots)) for key in lists}


def list_changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Describe each list whose content is another, such as `train.txt (367 -> 366 names)`."""
    return [
        _difference(key.removeprefix("root/"), was, after.get(key))
        for key, was in before.items()
        if after.get(key) != was
    ]


def names(changed: Sequence[str]) -> str:
    """The first of these names, and how many more there are."""
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    return f"{', '.join(changed[:NAMED])}{more}"


def refuse_changed(folders: Iterable[Path], roots: dict[str, str] | None = None) -> None:
    """Raise ConfigError for the first of these runs whose data has changed.

    Runs with equal records, such as the jobs of a sweep, are compared once.
    """
    seen = set()
    for folder in folders:
        started = any((folder / sign).exists() for sign in (RESULT, "checkpoints"))
        if not started or not (folder / DATA).is_file():
            continue
        record = (folder / DATA).read_bytes()
        if record not in seen and (changed := changes(folder, roots)):
            key = "hydra.sweep.dir" if (folder / JOB).exists() else "hydra.run.dir"
            raise ConfigError(
                f"{folder}: the data has changed since this run began: {changed}; set another "
                f"{key}, restore the data, or remove {folder} to train again"
            )
        seen.add(record)


def packed(files: dict[str, Any]) -> str:
    """Compress a fact of each file into one line of JSON."""
    return base64.b85encode(zlib.compress(json.dumps(files).encode())).decode()


def unpacked(text: str) -> dict[str, Any]:
    """Return what `packed` compressed. Raises ValueError, TypeError or zlib.error if damaged.

    More than any data set has is refused before it takes memory.
    """
    content = zlib.decompressobj().decompress(base64.b85decode(text), MOST_BYTES)
    if len(content) == MOST_BYTES:
        raise ValueError("too large")
    return dict(json.loads(content))


def _size_and_time(path: str | Path) -> list[int] | None:
    with suppress(OSError):
        return [(found := os.stat(path)).st_size, found.st_mtime_ns]
    return None


def _content(path: str | Path) -> Any:
    """Return number and digest of the names in a list or image folder; classes.yaml as parsed."""
    path = Path(path)
    try:
        if path.is_dir():
            there = sorted(os.listdir(path))
            lines = [name for name in there if name.lower().endswith(IMAGE_SUFFIXES)]
            lines = lines or [name for name in there if name.lower().endswith(".npy")]  # of bands
        elif path.name in ("classes.yaml", "classes.yml"):
            return read_yaml(path)
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
    """Absolute path, with the root folder that contains it replaced by that root's key."""
    path = os.path.abspath(path)
    for key in sorted(given, key=lambda key: -len(given[key])):
        if path.startswith(f"{given[key]}{os.sep}"):
            return key + path[len(given[key]) :]
    return path


def place(key: str, roots: dict[str, str]) -> str:
    """Path of a record's key. roots: folders by their keys."""
    first = key.split(os.sep)[0]
    return roots[first] + key[len(first) :] if first in roots else key
