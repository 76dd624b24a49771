"""Limits on what a checkpoint's stored config may call, since the file may be untrusted."""

import functools
import os
import re
from collections.abc import Iterator
from typing import Any

from hydra.utils import get_object

from fcnexp.config.compose import conf_dir
from fcnexp.errors import WeightsError

GROUPS = ("modality", "backbone", "head", "model", "dense", "data")  # stored in checkpoints
TARGET = re.compile(r"_target_:\s*(fcnexp[\w.]+)")


def refuse_foreign_code(node: Any, source: str) -> None:
    """Raise WeightsError if a stored config would call anything but the parts of conf/.

    `_target_` can name any function, even one of fcnexp that starts programs. Your own packages
    are allowed if FCNEXP_TRUST lists them, separated by commas. source: file of the config.
    """
    listed = os.environ.get("FCNEXP_TRUST", "").split(",")
    trusted = tuple(filter(None, map(str.strip, listed)))
    for path, key, value in _leaves(node, ""):
        if isinstance(value, str) and "${" in value:  # it could make a node out of nothing
            raise WeightsError(
                f"{source}: {path}={value}: a stored config may only hold plain values"
            )
        target = str(value)
        if key != "_target_" or target in _parts():
            continue
        if target.partition(".")[0] in trusted and _home(target, source) in trusted:
            continue
        raise WeightsError(
            f"{source}: its config would call {target}; if you trust it, set FCNEXP_TRUST="
            f"{target.partition('.')[0]}"
        )


@functools.cache
def _parts() -> frozenset[str]:
    """Every `_target_` of ours in the groups that checkpoints store."""
    files = (file for group in GROUPS for file in (conf_dir() / group).glob("*.yaml"))
    return frozenset(t for file in files for t in TARGET.findall(file.read_text(encoding="utf-8")))


def _home(target: str, source: str) -> str:
    """Package in which a target is defined: a trusted package may re-export foreign code."""
    try:
        found = get_object(target)
    except Exception as error:  # importing it may raise anything
        words = " ".join(str(error).split())
        raise WeightsError(f"{source}: {target} cannot be imported ({words})") from None
    return str(getattr(found, "__module__", "")).partition(".")[0]


def _leaves(node: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """Dotted path, last key and value of every leaf, also inside lists."""
    if isinstance(node, dict | list | tuple):
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in pairs:
            inner = f"{path}.{key}" if path else str(key)
            if isinstance(key, str) and "${" in key:
                yield inner, "", key
            if isinstance(value, dict | list | tuple) and key != "_target_":
                yield from _leaves(value, inner)
            else:
                yield inner, str(key), value
