"""Reading of YAML files and of stored values with limits on size, depth and what aliases expand to.

A file of 200 bytes can hold aliases of aliases that expand to billions of values, so that reading
it, or only counting it, never ends. Our own configs have about 100 values, 6 levels deep.
"""

import re
from pathlib import Path
from typing import Any

import yaml

MOST_VALUES = 200_000  # 10,000 classes, each with name, colour and value, have 90,000
DEEPEST = 50  # levels; far below Python's own limit
MOST_BYTES = 4_000_000
LONGEST_NUMBER = 100  # characters; YAML computes with any number, and a long one takes minutes
_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where PyYAML was built with it
_NUMBER = re.compile(r"[-+0-9_:.]+")
_OPENS = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSES = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def read_yaml(path: Path) -> Any:
    """Plain content of a YAML file. Raises ValueError, whose text says why, and OSError."""
    content = check_yaml(path)
    try:
        return yaml.safe_load(content)
    except (ValueError, yaml.YAMLError) as error:  # such as an impossible date
        raise _not_yaml(error) from None


def check_yaml(path: Path) -> bytes:
    """Return the bytes of a YAML file within the limits. Raises ValueError and OSError."""
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe would block forever
        raise ValueError("not a regular file")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES // 10**6} MB")
    try:
        _check_events(content)
    except yaml.YAMLError as error:
        raise _not_yaml(error) from None
    return content


def check_size(node: Any, most: int = MOST_VALUES) -> None:
    """Raise ValueError if plain values, as read, have too many nodes, counted as often as used."""
    _count_down(node, most, DEEPEST)


def _not_yaml(error: Exception) -> ValueError:
    return ValueError(f"not YAML ({' '.join(str(error).split())})")


def _check_events(content: bytes) -> None:
    """Count values without building them: each alias counts as much as what it stands for."""
    known: dict[str, int] = {}  # values below each anchor
    opened: list[tuple[str | None, int]] = []  # anchor, and the count when it began
    count = 0
    for event in yaml.parse(content, Loader=_PARSER):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in known:
                raise ValueError(f"alias *{event.anchor} refers to itself, or to nothing")
            count += known[event.anchor]
        elif isinstance(event, _OPENS):
            count += 1
            opened.append((event.anchor, count))
        elif isinstance(event, _CLOSES):
            anchor, before = opened.pop()
            if anchor is not None:
                known[anchor] = count - before + 1
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            if event.anchor is not None:
                known[event.anchor] = 1
            if len(event.value) > LONGEST_NUMBER and _NUMBER.fullmatch(event.value):
                raise ValueError(f"a number of {len(event.value)} digits")
        if len(opened) > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} levels deep")
        if count > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES} values, counting aliases")


def _count_down(node: Any, left: int, levels: int) -> int:
    """Values left after this one. Raises ValueError."""
    if left <= 0:
        raise ValueError("more values than any run stores")
    if levels < 0:
        raise ValueError(f"values nested more than {DEEPEST} levels deep")
    left -= 1
    if isinstance(node, dict):
        for key in node:
            left = _count_down(key, left, levels - 1) if isinstance(key, tuple) else left
    inner = node.values() if isinstance(node, dict) else node
    if isinstance(node, dict | list | tuple | set | frozenset):
        for child in inner:
            left = _count_down(child, left, levels - 1)
    return left
