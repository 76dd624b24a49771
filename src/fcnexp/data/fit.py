"""Does a data set fit a net: its classes, its tasks, its fields."""

from collections.abc import Collection, Mapping
from typing import Any

from fcnexp.data.splits import DataSet
from fcnexp.errors import ConfigError
from fcnexp.scoring.tasks import FOLDERS, is_name


def outputs_of(data: DataSet) -> dict[str, int]:
    """Number of classes by task; a data set without `outputs` has one task. Raises ConfigError."""
    found = dict(getattr(data, "outputs", {"class": len(data.class_names)}))
    if wrong := [name for name in found if not is_name(name)]:
        raise ConfigError(
            f"data: {wrong[0]} cannot be the name of a task, as a run's folder has one of this "
            f"name: use letters, digits and _, and none of {', '.join(FOLDERS)}"
        )
    return found


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
        cure = "data=folder" if "bands" in missing else "data=nyud or data=rooms"
        raise ConfigError(
            f"modality takes {', '.join(fields)}, but the data set provides "
            f"{', '.join(data.provides)}; choose {cure}, or modality=rgb"
        )


def takes(fields: Collection[str], augment: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields to read. Raises ConfigError if they are bands, but colours are to be changed."""
    if "bands" in fields and augment.get("colour"):
        raise ConfigError(
            f"augment.colour={augment['colour']}: changes brightness, contrast and saturation of "
            "red, green and blue, which bands do not have; set augment.colour=0"
        )
    return tuple(fields)
