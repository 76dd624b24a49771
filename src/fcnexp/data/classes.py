"""No data set, only its classes: for a net whose weights come from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from fcnexp.data.sample import Sample
from fcnexp.errors import DataError


@dataclass
class Classes:
    """So many classes, without images: enough to build a net, load weights and explain it.

    counts: number of classes of each of the tasks. A net of several tasks stacks their scores (SIFT
    Flow's 33 semantic and 3 geometric classes). Raises ValueError where there is none.
    """

    counts: list[int]
    tasks: list[str]

    provides = ("rgb", "depth", "hha")

    def __post_init__(self) -> None:
        """Check the counts."""
        if not self.counts or len(self.counts) != len(self.tasks) or min(self.counts) < 1:
            raise ValueError(
                f"counts={self.counts}, tasks={self.tasks}: one count, of 1 or more, for each task"
            )

    @property
    def outputs(self) -> dict[str, int]:
        """Number of classes by task."""
        return dict(zip(self.tasks, self.counts, strict=True))

    @property
    def class_names(self) -> tuple[str, ...]:
        """`sem 0`, `sem 1` ..., counted by task."""
        return tuple(f"{task} {i}" for task, n in self.outputs.items() for i in range(n))

    def train(self, fields: tuple[str, ...]) -> Sequence[Sample]:
        """Refuse. Raises DataError."""
        self._refuse()

    def val(self, fields: tuple[str, ...]) -> Sequence[Sample]:
        """Refuse. Raises DataError."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise DataError(
            "data=classes has no images: it is for building nets and for explain; train and "
            "evaluate want data=voc, voc_sbd, nyud or shapes"
        )
