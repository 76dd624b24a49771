"""What a W&B run is called, and which one continues which."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fcnexp.config.identity import digest
from fcnexp.reporting.records import JOB
from fcnexp.system.atomic import write_atomically

ID = "wandb_id.txt"  # in the run folder: the id of its W&B run
LONGEST_TAG = 64  # characters that W&B takes


class Facts(NamedTuple):
    """How a run is found among others.

    id: the same for all parts of a run that was continued. name: for people. group: its sweep's
    name; None outside of one. kind: `run`, or `stage` of a run that trains coarser nets first.
    """

    id: str
    name: str
    group: str | None
    kind: str
    tags: list[str]


def facts_of(
    config: Mapping[str, Any], choices: Mapping[str, Any], folder: Path, *, goes_on: bool
) -> Facts:
    """The facts of the run of a folder.

    config: resolved, plain. choices: option by config group. goes_on: whether it is continued.
    """
    staged = folder.parent.name == "stages"
    home = folder.parents[1] if staged else folder
    in_sweep = (home / JOB).is_file()
    name = home.name  # of a job it says all of this
    if not in_sweep:
        name = f"{choices.get('model')}_{choices.get('backbone')}_seed{config.get('seed')}_{name}"
    return Facts(
        id=run_id(folder, digest(dict(config)), goes_on=goes_on),
        name=f"{name}_{folder.name}" if staged else name,
        group=home.parent.name if in_sweep else None,
        kind="stage" if staged else "run",
        tags=tags(config, choices),
    )


def run_id(folder: Path, job: str, *, goes_on: bool) -> str:
    """The id of a folder's W&B run, kept there: JOB-RANDOM.

    The job's digest alone would be that of the same job in another folder, too, and of this one
    begun anew, whose points would fall among those of the first.
    """
    file = folder / ID
    kept = file.read_text(encoding="utf-8").strip() if goes_on and file.is_file() else ""
    if kept:
        return kept
    fresh = f"{job}-{secrets.token_hex(4)}"
    keep_id(folder, fresh)
    return fresh


def keep_id(folder: Path, name: str) -> None:
    """Write down the id of a folder's W&B run."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / ID, f"{name}\n")


def tags(config: Mapping[str, Any], choices: Mapping[str, Any]) -> list[str]:
    """Experiment, the paper's table and row, model and backbone, as far as there are any."""
    paper = config.get("paper") or {}
    words = [choices.get("experiment"), paper.get("table"), paper.get("row")]
    words += [choices.get("model"), choices.get("backbone")]
    return list(dict.fromkeys(str(word)[:LONGEST_TAG] for word in words if word))
