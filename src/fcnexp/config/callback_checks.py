"""Checks of the config's callbacks and further loggers that need no import."""

from collections.abc import Mapping
from typing import Any

from fcnexp.config.values import did_you_mean
from fcnexp.errors import ConfigError

REFUSED = {  # callbacks of Lightning by class name, and what to use instead
    "LearningRateFinder": "it changes the learning rate that the run's record names; choose rates "
    "in a sweep: -m regime.lr=1e-3,3e-3",
    "BatchSizeFinder": "it changes the batch that the run's record names; regime.batch_size and "
    "regime.accumulate divide a step",
    "GradientAccumulationScheduler": "regime.accumulate is the number of passes per step",
    "StochasticWeightAveraging": "it counts epochs, and a training is one epoch; choose "
    "callbacks=ema",
}
EXAMPLE = "+callbacks.NAME._target_=lightning.pytorch.callbacks.Timer"
METRICS = ("val/miou", "val/pixel_acc", "val/mean_acc", "val/fw_iou", "train/loss")


def check_callbacks(callbacks: Mapping[str, Any]) -> None:
    """Raise ConfigError if an entry of `callbacks` is none, or one that cannot work here."""
    check_parts("callbacks", callbacks, EXAMPLE)
    for name, node in callbacks.items():
        kind = "" if node is None else str(node["_target_"]).rpartition(".")[2]
        if kind in REFUSED:
            raise ConfigError(f"callbacks.{name}: {kind}: {REFUSED[kind]}")
        monitor = None if node is None else node.get("monitor")
        if monitor is not None and not str(monitor).startswith(("val/", "train/")):
            raise ConfigError(
                f"callbacks.{name}.monitor={monitor}: allowed are {', '.join(METRICS)}"
                f"{did_you_mean(str(monitor), METRICS)}, and for a further task val/TASK_miou ..."
            )


def check_parts(key: str, parts: Mapping[str, Any], example: str) -> None:
    """Raise ConfigError unless each value is a `_target_` with its arguments, or null."""
    for name, node in parts.items():
        if node is not None and not (isinstance(node, Mapping) and "_target_" in node):
            shown = node if not isinstance(node, Mapping) else dict(node)
            raise ConfigError(
                f"{key}.{name}={shown}: must name a class by `_target_`, such as {example}; null "
                "leaves it out"
            )
