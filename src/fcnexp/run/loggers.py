"""Loggers of a run: metrics.csv always, W&B and TensorBoard if configured."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from lightning.fabric.loggers.csv_logs import _ExperimentWriter as FabricWriter
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment
from omegaconf import DictConfig

from fcnexp.config.compose import what_was_typed
from fcnexp.config.values import to_plain
from fcnexp.reporting.result import Counted
from fcnexp.system import this_process
from fcnexp.system.atomic import write_atomically
from fcnexp.tracking import panels, tables
from fcnexp.tracking.panels import Panel, Panels, wandb_image
from fcnexp.tracking.run import CHECKPOINTS, STEP, Choice, Tracked, tracked
from fcnexp.tracking.run_ids import facts_of

TENSORBOARD = "tensorboard"  # folder of its event files, in the run folder


class Loggers:
    """A Trainer's loggers, and its callbacks for logging images. folder: of the run."""

    def __init__(
        self, loggers: list[Logger], run: Tracked | None, config: dict[str, Any], folder: Path
    ) -> None:
        self.loggers, self.run, self.config, self.folder = loggers, run, config, folder

    @property
    def callbacks(self) -> list[Callback]:
        """Callback that logs images at each validation; empty if none are to be logged."""
        choice = self.config["logger"]
        if self.run is None or not choice["images"]:
            return []
        return [Panels(choice["images"], choice["side"], self._show)]

    def log_result(self, result: Mapping[str, Any], counted: Sequence[Counted], steps: int) -> None:
        """Log a finished run's result; see `tracking.tables.values_of_tasks`. Share its checkpoint.

        result: content of result.json. counted: of each task. steps: trained.
        """
        if self.run is not None:
            values = partial(tables.values_of_tasks, result, counted, self.config)
            self.run.log(lambda: values() | {STEP: steps})
            if kind := self.config["logger"]["wandb"]["checkpoint"]:
                path = self.folder / "checkpoints" / CHECKPOINTS[kind]
                facts = {"scores": result["scores"], "steps": steps, "best": result["best"]}
                self.run.share(path, kind, facts)

    def _show(self, shown: Sequence[Panel], module: Any, step: int) -> None:
        assert self.run is not None
        self.run.log(
            lambda: {panels.KEY: [wandb_image(panel, module.tasks) for panel in shown], STEP: step}
        )


class MetricsFile(ExperimentWriter):
    """metrics.csv that loses no line if the process is killed.

    Lightning's writer overwrites the file with all its lines when a new metric appears.
    """

    def save(self) -> None:
        """Append the lines not written yet. Raises OSError."""
        path = Path(self.metrics_file_path)
        names = sorted({*self.metrics_keys, *(name for line in self.metrics for name in line)})
        if names != self.metrics_keys and path.is_file():
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, names)
            writer.writeheader()
            with path.open(encoding="utf-8", newline="") as file:
                writer.writerows(csv.DictReader(file))
            write_atomically(path, text.getvalue())
            self.metrics_keys = names
        super().save()


class MetricsLogger(CSVLogger):
    """Writer of a run folder's metrics.csv."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name="", version="")

    @property
    @rank_zero_experiment
    def experiment(self) -> FabricWriter:
        """The file; the first access starts a new one."""
        if self._experiment is None:
            self._experiment = MetricsFile(self.log_dir)
        return self._experiment


class CarefulLogger(WandbLogger):
    """Lightning's W&B logger on a run whose logging may fail."""

    def __init__(self, run: Tracked) -> None:
        super().__init__(experiment=run.run)
        self.tracked = run

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log one line; it is dropped if W&B does not accept it."""
        line = {key: value for key, value in metrics.items() if key != "epoch"}  # we count steps
        self.tracked.log(lambda: line if step is None else line | {STEP: step})


@contextmanager
def opened(
    cfg: DictConfig, folder: Path, others: Callable[[], Sequence[Logger]], *, resumed: bool
) -> Iterator[Loggers]:
    """Open a run's loggers for the block; an exception marks the run as failed.

    others: makes those of `logger.others`, which also get the config. resumed: True if the run
    continues an earlier one in this folder. Only rank 0 logs.
    """
    config = to_plain(cfg)
    if this_process.rank():
        yield Loggers([], None, config, folder)
        return
    loggers: list[Logger] = [MetricsLogger(folder)]
    if cfg.logger.tensorboard:
        loggers.append(TensorBoardLogger(folder, name="", version=TENSORBOARD))
    for other in others():
        other.log_hyperparams(config)
        loggers.append(other)
    if cfg.logger.wandb is None:
        yield Loggers(loggers, None, config, folder)
        return
    choices = what_was_typed()["choices"] if HydraConfig.initialized() else {}
    facts = facts_of(config, choices, folder, resumed=resumed)
    with tracked(Choice(**config["logger"]["wandb"]), facts, config, folder) as run:
        careful = [CarefulLogger(run)] if run is not None else []
        yield Loggers([*loggers, *careful], run, config, folder)
