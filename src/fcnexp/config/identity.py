"""Which settings make a run another run: those that can change a number.

A run is known by these wherever it matters: whether a sweep has done a job before, whether a folder
may be continued, which runs of a comparison are the same row.
"""

import hashlib
import json
import os
from contextlib import suppress
from typing import Any

from fcnexp.config.moved_parts import FIRST, renamed

# What changes no number: how a run is watched, what its figures are compared with, where downloaded
# weights are kept. `scale` is the name of a bundle of settings, and these count themselves. Folders
# of data are not here: `counted` says what is left of them.
FREE = (
    *(
        "resume",
        "keep_best",
        "dry_run",
        "fail_fast",
        "plain",
        "workers",
        "pictures",
        "logger",
        "paper",
        "scale",
    ),
    *("init.folder", "init.first.folder"),
    *("trainer.threads", "trainer.activation_checkpointing"),
)
LATER = (
    "tf32",
    "deterministic",
    "compile",
)  # of trainer: false is what there was before there were these keys
ROOTS = ("root", "sbd_root")  # of data
GENERATED = ("fcnexp.data.splits.Shapes", "fcnexp.data.splits.Rooms")  # the same in any folder
OWN_FOLDER = "fcnexp.data.own.Folder"  # a data set that nothing but its root tells from another
DIGITS = 10  # hexadecimal: two of a million jobs share a digest with a chance below one half


def counted(config: dict[str, Any]) -> dict[str, Any]:
    """A copy of a plain config without what is in `FREE`, its data's roots as whole paths.

    Relative ones begin where the command was given, and links are followed: two roots are two data
    sets. Generated data is the same in any folder.
    """
    kept: dict[str, Any] = renamed(config, FIRST)
    data = kept.get("data")
    if isinstance(data, dict):
        for root in ROOTS:
            if data.get("_target_") in GENERATED:
                data.pop(root, None)
            elif isinstance(data.get(root), str):
                with suppress(OSError, ValueError):  # no current folder; a NUL in the path
                    data[root] = os.path.realpath(os.path.expanduser(data[root]))
    trainer = kept.get("trainer")
    for name in LATER:
        if isinstance(trainer, dict) and trainer.get(name) is False:
            del trainer[name]
    for name in FREE:
        *nodes, last = name.split(".")
        node: Any = kept
        for each in nodes:
            node = node.get(each) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(last, None)
    return kept


def digest(config: dict[str, Any]) -> str:
    """A short name for all that counts in a plain config; the order of keys does not."""
    text = json.dumps(counted(config), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
