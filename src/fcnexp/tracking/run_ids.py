"""Names and ids of W&B runs; a resumed run keeps its id."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fcnexp.config.identity import digest
from fcnexp.reporting.records import JOB
from fcnexp.system.atomic import write_atomically

ID = "wandb_id.txt"  # in the run folder: the id of its W&B run
MAX_TAG = 64  # characters, W&B's limit


class Facts(NamedTuple):
    """Identification of a W&B run.

    id: kept when a run is resumed. name: for display. group: name of its sweep, or None. kind:
    `run`, or `stage` for the coarser nets of a staged run.
    """

    id: str
    name: str
    group: str | None
    kind: str
    tags: list[str]


def facts_of(
    config: Mapping[str, Any], choices: Mapping[str, Any], folder: Path, *, resumed: bool
) -> Facts:
    """Identify the run of a folder.

    config: resolved, plain. choices: option by config group. resumed: True if the run continues.
    """
    staged = folder.parent.name == "stages"
    home = folder.parents[1] if staged else folder
    in_sweep = (home / JOB).is_file()
    name = home.name  # a job's folder name already contains the rest
    if not in_sweep:
        name = f"{choices.get('model')}_{choices.get('backbone')}_seed{config.get('seed')}_{name}"
    return Facts(
        id=run_id(folder, digest(dict(config)), resumed=resumed),
        name=f"{name}_{folder.name}" if staged else name,
        group=home.parent.name if in_sweep else None,
        kind="stage" if staged else "run",
        tags=tags(config, choices),
    )


def run_id(folder: Path, job: str, *, resumed: bool) -> str:
    """Id of a folder's W&B run, JOB-RANDOM, stored in the folder.

    The random part keeps the curves apart if the same job runs in another folder or starts over.
    """
    file = folder / ID
    kept = file.read_text(encoding="utf-8").strip() if resumed and file.is_file() else ""
    if kept:
        return kept
    fresh = f"{job}-{secrets.token_hex(4)}"
    keep_id(folder, fresh)
    return fresh


def keep_id(folder: Path, name: str) -> None:
    """Store the id of a folder's W&B run."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / ID, f"{name}\n")


def tags(config: Mapping[str, Any], choices: Mapping[str, Any]) -> list[str]:
    """Tags of a run: experiment, published table and row, model, backbone; missing ones are cut."""
    paper = config.get("paper") or {}
    found = [choices.get("experiment"), paper.get("table"), paper.get("row")]
    found += [choices.get("model"), choices.get("backbone")]
    return list(dict.fromkeys(str(tag)[:MAX_TAG] for tag in found if tag))
