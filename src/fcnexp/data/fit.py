"""Does a data set fit a net: its classes, its tasks, its fields."""

from collections.abc import Collection, Mapping
from typing import Any

from fcnexp.data.splits import DataSet
from fcnexp.errors import ConfigError


def refuse_other_classes(
    facts: Mapping[str, Any], data: DataSet, outputs: Mapping[str, int], path: str
) -> None:
    """Raise ConfigError if the classes or tasks of a checkpoint are not the data set's.

    facts: of the checkpoint. outputs: the data set's number of classes by task.
    """
    known, asked = list(facts["class_names"]), list(data.class_names)
    if known != asked:
        raise ConfigError(
            f"{path}: trained on {len(known)} classes ({', '.join(known[:4])} ...), the data set "
            f"has {len(asked)} ({', '.join(asked[:4])} ...); choose data with the same classes"
        )
    trained, tasks = list(facts["outputs"].items()), list(outputs.items())
    if trained != tasks and (len(trained) > 1 or len(tasks) > 1):  # a single one needs no name
        known, asked = (
            [f"{name} ({count} classes)" for name, count in t] for t in (trained, tasks)
        )
        raise ConfigError(
            f"{path}: trained for {', '.join(known)}, the data set has labels for "
            f"{', '.join(asked)}; choose data with the same tasks"
        )


def refuse_missing_field(data: DataSet, fields: Collection[str]) -> None:
    """Raise ConfigError if the data set lacks a field that the modality takes as input."""
    missing = [name for name in fields if name not in data.provides]
    if missing:
        raise ConfigError(
            f"modality takes {', '.join(fields)}, but the data set provides "
            f"{', '.join(data.provides)}; choose data=nyud or data=rooms, or modality=rgb"
        )
