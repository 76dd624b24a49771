"""What Hydra calls when a multirun begins, in the process in which it was typed."""

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from fcnexp.config.compose import offer_resolvers
from fcnexp.config.secrets import withhold_secrets
from fcnexp.sweep import launches


class Ledger(Callback):
    """Announces the launch to all of its processes."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Begin a launch; the command line has ended it when it is back from Hydra."""
        folder = Path(str(config.hydra.sweep.dir))
        with read_write(config), open_dict(config):
            tell_jobs(config)
            if config.dry_run and config.hydra.sweeper.get("storage"):
                config.hydra.sweeper.storage = None  # a search opens it before anything is checked
        command = ["python", "-m", "fcnexp.train", *sys.argv[1:]]
        launches.start(folder, command, lasting=not config.dry_run)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A process of joblib or submitit composes the job's config, once it has got this object.

        Nothing of ours has run there yet that could tell where `conf` and `sweeps` are.
        """
        self.__dict__.update(state)
        offer_resolvers()
        withhold_secrets()

    def __getstate__(self) -> dict[str, Any]:
        """Not empty, else there would be no `__setstate__`."""
        return {"ledger": True}


def tell_jobs(config: DictConfig) -> None:
    """Make the sweep's folder a setting of each job, which could not derive it from its own.

    Every launcher composes a job's config from these settings and the job's overrides.
    """
    told = config.hydra.overrides.hydra
    if not any(setting.lstrip("+").startswith("hydra.sweep.dir=") for setting in told):
        quoted = str(config.hydra.sweep.dir).replace('"', '\\"')
        told.append(f'hydra.sweep.dir="{quoted}"')
