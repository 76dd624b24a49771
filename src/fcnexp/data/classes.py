"""Class counts without a data set, for networks whose weights come from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from fcnexp.data.sample import Sample
from fcnexp.errors import DataError


@dataclass
class Classes:
    """Classes without images: enough to build a network, load weights and run `explain`.

    counts: number of classes of each task. A multi-task network stacks their scores (SIFT Flow's
    33 semantic and 3 geometric classes). Raises ValueError if counts and tasks do not match.
    """

    counts: list[int]
    tasks: list[str]

    provides = ("rgb", "depth", "hha", "bands")

    def __post_init__(self) -> None:
        """Check the counts."""
        if not self.counts or len(self.counts) != len(self.tasks) or min(self.counts) < 1:
            raise ValueError(
                f"counts={self.counts}, tasks={self.tasks}: set one count, 1 or more, for each task"
            )

    @property
    def outputs(self) -> dict[str, int]:
        """Number of classes by task."""
        return dict(zip(self.tasks, self.counts, strict=True))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names `TASK 0`, `TASK 1` ... for each task."""
        return tuple(f"{task} {i}" for task, n in self.outputs.items() for i in range(n))

    def train(self, fields: tuple[str, ...]) -> Sequence[Sample]:
        """Refuse. Raises DataError."""
        self._refuse()

    def val(self, fields: tuple[str, ...]) -> Sequence[Sample]:
        """Refuse. Raises DataError."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise DataError(
            "data=classes has no images: use it to build networks and with explain; for train and "
            "evaluate choose data=voc, voc_sbd, nyud, camvid, pascalcontext, siftflow, folder or "
            "shapes"
        )
