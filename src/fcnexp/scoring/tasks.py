"""The tasks of a net: each gives every pixel one of its own classes.

The scores of all tasks are stacked along the classes. The first task is the main one: its mean IU
is monitored, and its files and keys have the names that a net with one task gives them. What
belongs to a further task bears its name: files are in a folder TASK, keys end in TASK_KEY.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FOLDERS = ("checkpoints", "pictures", "stages", "tensorboard", "wandb")  # of a run


class Task(NamedTuple):
    """One task. classes: their names. start: place of its first class in the stacked scores."""

    name: str
    classes: tuple[str, ...]
    start: int = 0

    @property
    def place(self) -> slice:
        """Its classes among those of all tasks."""
        return slice(self.start, self.start + len(self.classes))

    @property
    def is_further(self) -> bool:
        """False for the first task."""
        return self.start > 0

    def of_scores(self, scores: Any) -> Any:
        """Its part, as a view, of the stacked scores (..., K, H, W), an array or tensor."""
        if scores.shape[-3] == len(self.classes):
            return scores  # a view might change the order of bytes that a gradient is stored in
        return scores[..., self.place, :, :]

    def label_of(self, labelled: Any) -> Any:
        """Its label map of a `data.sample.Sample`, or its label maps of a `data.collate.Batch`."""
        return labelled.further[self.name] if self.is_further else labelled.label

    def key(self, name: str) -> str:
        """Name of a value of this task: `val/miou`, and `val/geo_miou` for a further task."""
        head, slash, tail = name.rpartition("/")
        return f"{head}{slash}{self.name}_{tail}" if self.is_further else name

    def folder(self, base: Path) -> Path:
        """Where its files are, given the folder of those of the first task."""
        return base / self.name if self.is_further else base


def is_name(text: str) -> bool:
    """True if a task may have this name, which becomes a folder in a run's."""
    return text.isidentifier() and text not in FOLDERS


def tasks_of(class_names: Sequence[str], outputs: Mapping[str, int] | None) -> tuple[Task, ...]:
    """The tasks of a net or data set, in the order of the scores.

    class_names: of all tasks, stacked. outputs: number of classes by task; None for a single task.
    """
    found, start = [], 0
    for name, count in (outputs or {"class": len(class_names)}).items():
        found.append(Task(name, tuple(class_names[start : start + count]), start))
        start += count
    return tuple(found)
