"""Pruning: a trial of a search that lags behind the others ends after a scoring."""

import json
import os
import warnings
from collections.abc import Mapping
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback


class Prune(Callback):
    """Tells the study each mean IU, and stops the training if the pruner says so.

    A search adds it to the callbacks of its trials. Outside of a search, as when a trial's command
    is repeated alone, it does nothing.

    pruner: its name, or a mapping of its name and arguments. Raises ConfigError.
    """

    def __init__(self, *, pruner: str | Mapping[str, Any]) -> None:
        self.pruner = pruner
        self.stopped_because: str | None = None
        self.trial: Any = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the study, in the first process only."""
        found = os.environ.get("FCNEXP_TRIAL")  # methods.TRIAL, whose module imports Optuna
        if not found or not trainer.is_global_zero:
            return
        import optuna

        from fcnexp.search.methods import build_pruner
        from fcnexp.search.studies import open_storage

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        place = json.loads(found)
        storage, pruner = open_storage(place["storage"]), build_pruner(self.pruner)
        study = optuna.load_study(study_name=place["study"], storage=storage, pruner=pruner)
        self.trial = optuna.Trial(study, place["id"])

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the score of this step, and stop all processes if it is too low."""
        if trainer.state.fn != "fit":
            return
        step, miou = trainer.global_step, float(trainer.callback_metrics["val/miou"])
        lags = False
        if self.trial is not None:
            with warnings.catch_warnings():  # a resumed run reports its last scorings again
                warnings.simplefilter("ignore")
                self.trial.report(miou, step)
            lags = step < trainer.max_steps and self.trial.should_prune()
        if trainer.strategy.broadcast(lags):
            trainer.should_stop = True
            self.stopped_because = f"pruned, as mean IU {100 * miou:.1f} % lags behind"

    def state_dict(self) -> dict[str, Any]:
        """Return why the training has ended, so that it does not go on when it resumes."""
        return {"stopped_because": self.stopped_because}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it from a checkpoint."""
        self.stopped_because = state_dict["stopped_because"]
