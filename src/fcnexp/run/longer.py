"""More steps for a run: it goes on from its checkpoint if its rates so far do not change."""

import shlex
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fcnexp.errors import ConfigError
from fcnexp.reporting.records import CONFIG, JOB, RESULT
from fcnexp.run.staging import is_staged
from fcnexp.system.atomic import write_atomically
from fcnexp.system.checkpoint_store import LAST
from fcnexp.system.places import short

# Schedules whose rates do not depend on the number of steps.
ENDLESS = ("fcnexp.task.optim.constant", "fcnexp.task.optim.step")


def refuse_unless_the_same(folder: Path, cfg: DictConfig, was: int) -> None:
    """Raise ConfigError if a run of `was` steps cannot end as one of cfg's steps from the start.

    It can if its learning rates up to there are the same: a training depends on nothing else that
    the number of steps determines.
    """
    path = folder / "checkpoints" / LAST
    if (folder / RESULT).exists() and not path.exists():
        raise ConfigError(
            f"hydra.run.dir={short(folder)}: a run of {was} steps, which cannot go on to "
            f"{cfg.regime.steps}, since its checkpoints are gone; choose another folder"
        )
    schedule = str(cfg.regime.schedule.get("_target_", ""))
    why = ""
    if was == 0:
        why = "it was only scored"
    elif (folder / JOB).exists():
        why = "it is a job of a sweep, known by its number of steps"
    elif is_staged(cfg):
        why = "init=staged has trained the coarser nets for as many steps"
    elif schedule not in ENDLESS:
        name = schedule.rpartition(".")[2]
        why = f"the learning rates of regime.schedule={name} depend on the number of steps"
    if why:
        raise ConfigError(
            f"hydra.run.dir={short(folder)}: a run of {was} steps, which cannot go on to "
            f"{cfg.regime.steps}, since {why}; to train its weights further, choose another folder "
            f"and add init=checkpoint {shlex.quote(f'init.path={short(path)}')}"
        )


def begin(folder: Path, cfg: DictConfig, stored: dict[str, Any] | None) -> None:
    """Make a folder's run one of more steps, if it has fewer; keeps the result so far.

    stored: config of the run there. Each of the two changes leaves a run that can be continued.
    """
    was = None if stored is None else (stored.get("regime") or {}).get("steps")
    if not isinstance(was, int) or was >= cfg.regime.steps:
        return
    if (folder / RESULT).exists():
        kept = folder / f"result_after_{was}.json"
        (folder / RESULT).replace(kept)
        print(f"goes on from {was} to {cfg.regime.steps} steps; {short(kept)} is the result so far")
    write_atomically(folder / CONFIG, OmegaConf.to_yaml(cfg, resolve=True))
