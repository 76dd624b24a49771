"""Settings that identify a run: those that can change its numbers.

They decide if a sweep has already done a job, if a run may be resumed in a folder, and which runs
of a comparison form one row.
"""

import hashlib
import json
import os
from contextlib import suppress
from typing import Any

from fcnexp.config import trainer_arguments
from fcnexp.config.moved_parts import FIRST, renamed

# Settings that do not change any number: logging, published figures to compare with, the folder of
# downloaded weights. `scale` only names a bundle of settings, each of which counts by itself. For
# data folders, see `counted`.
FREE = (
    *("resume", "keep_best", "dry_run", "fail_fast", "plain", "workers", "pictures", "logger"),
    *("score_batch", "paper", "scale", "init.folder", "init.first.folder"),
    "data.bands",  # a file whose numbers are in `modality`
    *("trainer.threads", "trainer.activation_checkpointing"),
    *(f"trainer.{name}" for name in trainer_arguments.FREE),
)
LATER = ("tf32", "deterministic", "compile")  # newer keys of trainer; false means as before them
# Names of one precision. `bf16` and `32` count as typed, so that finished jobs stay finished.
SAME = {"fp16": "16-mixed", "16": "16-mixed"}
ROOTS = ("root", "sbd_root", "context_root")  # of data
GENERATED = ("fcnexp.data.splits.Shapes", "fcnexp.data.splits.Rooms")  # the same in any folder
OWN_FOLDER = "fcnexp.data.own.Folder"  # custom data, identified by its root alone
LATER_OF_DATA = ("masks", "upright")  # newer keys of data=folder; null means as before them
DIGITS = 10  # hexadecimal: among a million jobs, two share a digest with probability below 0.5


def counted(config: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a plain config without `FREE`, and with absolute data roots.

    Relative roots start in the current folder, and links are followed: two roots are two data sets.
    The root of generated data is dropped.
    """
    kept: dict[str, Any] = renamed(config, FIRST)
    if isinstance(data := kept.get("data"), dict):
        for root in ROOTS:
            if data.get("_target_") in GENERATED:
                data.pop(root, None)
            elif isinstance(data.get(root), str):
                with suppress(OSError, ValueError):  # no current folder; a NUL in the path
                    data[root] = os.path.realpath(os.path.expanduser(data[root]))
        if data.get("_target_") == OWN_FOLDER:
            for key in LATER_OF_DATA:
                if data.get(key) is None:
                    data.pop(key, None)
    if isinstance(trainer := kept.get("trainer"), dict):
        kept["trainer"] = {k: v for k, v in trainer.items() if k not in LATER or v is not False}
        if (precision := trainer.get("precision")) is not None:
            kept["trainer"]["precision"] = SAME.get(str(precision), precision)
    callbacks = kept.get("callbacks")
    chosen = any(callbacks.values()) if isinstance(callbacks, dict) else callbacks
    if not chosen or chosen == "???":  # OmegaConf's mark, in configs older than this key
        kept.pop("callbacks", None)
    for name in FREE:
        *nodes, last = name.split(".")
        node: Any = kept
        for each in nodes:
            node = node.get(each) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(last, None)
    return kept


def digest(config: dict[str, Any]) -> str:
    """Hash a plain config's counted settings, independent of the order of keys."""
    text = json.dumps(counted(config), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
