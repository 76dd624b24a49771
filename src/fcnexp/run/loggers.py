"""Where a run's numbers go as it trains: metrics.csv, always, W&B and TensorBoard, if asked."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from lightning.fabric.loggers.csv_logs import _ExperimentWriter as FabricWriter
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment
from omegaconf import DictConfig
from torch import Tensor

from fcnexp.config.compose import what_was_typed
from fcnexp.config.values import to_plain
from fcnexp.system import this_process
from fcnexp.system.atomic import write_atomically
from fcnexp.tracking import panels, tables
from fcnexp.tracking.panels import Panel, Panels, wandb_image
from fcnexp.tracking.run import STEP, Choice, Tracked, tracked
from fcnexp.tracking.run_ids import facts_of

TENSORBOARD = "tensorboard"  # folder of its events, in the run folder


class Loggers:
    """What a Trainer logs to, and what it calls back for pictures."""

    def __init__(self, loggers: list[Logger], run: Tracked | None, config: dict[str, Any]) -> None:
        self.loggers, self.run, self.config = loggers, run, config

    @property
    def callbacks(self) -> list[Callback]:
        """What hands images on at each scoring, if anybody is to see them."""
        choice = self.config["logger"]
        if self.run is None or not choice["images"]:
            return []
        return [Panels(choice["images"], choice["side"], self._show)]

    def log_result(self, result: Mapping[str, Any], matrix: Tensor, steps: int) -> None:
        """Log what a finished run came to; see `tracking.tables.result_values`.

        result: of result.json. matrix: int64 (K, K), rows truth. steps: that were trained.
        """
        if self.run is not None:
            names = list(result["class_iou"])
            self.run.log(
                lambda: tables.result_values(result, matrix, names, self.config) | {STEP: steps}
            )

    def _show(self, shown: Sequence[Panel], class_names: Sequence[str], step: int) -> None:
        assert self.run is not None
        self.run.log(
            lambda: {panels.KEY: [wandb_image(panel, class_names) for panel in shown], STEP: step}
        )


class MetricsFile(ExperimentWriter):
    """metrics.csv, of which no line is lost wherever the process is killed.

    Lightning's writes all lines anew, over the old ones, when it meets a new name.
    """

    def save(self) -> None:
        """Append what is not written yet. Raises OSError."""
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
    """Writes metrics.csv of a run folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name="", version="")

    @property
    @rank_zero_experiment
    def experiment(self) -> FabricWriter:
        """The file, which is begun anew when it is first asked for."""
        if self._experiment is None:
            self._experiment = MetricsFile(self.log_dir)
        return self._experiment


class CarefulLogger(WandbLogger):
    """Lightning's logger, on a run that may fail."""

    def __init__(self, run: Tracked) -> None:
        super().__init__(experiment=run.run)
        self.tracked = run

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log one line; what W&B cannot take is dropped."""
        line = {key: value for key, value in metrics.items() if key != "epoch"}  # there are none
        self.tracked.log(lambda: line if step is None else line | {STEP: step})


@contextmanager
def opened(cfg: DictConfig, folder: Path, *, goes_on: bool) -> Iterator[Loggers]:
    """The loggers of one run, which end with the block; an exception marks the run as failed.

    goes_on: whether the run in this folder is continued. Of several processes the first logs.
    """
    config = to_plain(cfg)
    if this_process.rank():
        yield Loggers([], None, config)
        return
    loggers: list[Logger] = [MetricsLogger(folder)]
    if cfg.logger.tensorboard:
        loggers.append(TensorBoardLogger(folder, name="", version=TENSORBOARD))
    if cfg.logger.wandb is None:
        yield Loggers(loggers, None, config)
        return
    choices = what_was_typed()["choices"] if HydraConfig.initialized() else {}
    facts = facts_of(config, choices, folder, resumed=goes_on)
    with tracked(Choice(**config["logger"]["wandb"]), facts, config, folder) as run:
        careful = [CarefulLogger(run)] if run is not None else []
        yield Loggers([*loggers, *careful], run, config)
