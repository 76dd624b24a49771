"""What Hydra calls when a multirun begins, in the process in which it was typed."""

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from fcnexp.config import offer_resolvers
from fcnexp.sweep import launches


class Ledger(Callback):
    """Announces the launch to all of its processes."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Begin a launch; the command line has ended it when it is back from Hydra."""
        folder = Path(str(config.hydra.sweep.dir))
        command = ["python", "-m", "fcnexp.train", *sys.argv[1:]]
        launches.start(folder, command, lasting=not config.dry_run)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A process of joblib or submitit composes the job's config, once it has got this object.

        Nothing of ours has run there yet that could tell where `conf` and `sweeps` are.
        """
        self.__dict__.update(state)
        offer_resolvers()

    def __getstate__(self) -> dict[str, Any]:
        """Not empty, else there would be no `__setstate__`."""
        return {"ledger": True}
