"""One image with its label, as every data set returns it."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass
class Sample:
    """One image with its label, unprocessed.

    name: the image's id, unique within its data set, without folder or extension.
    fields: what was asked of the data set, by name, all of one height and width:
        rgb: uint8 (3, H, W), [0, 255], RGB order.
        hha: uint8 (3, H, W), [0, 255], disparity, height and angle as stored.
        depth: int32 (1, H, W), millimetres, 0 where missing.
    label: uint8 (H, W), class indices and VOID; None where there is no truth.
    """

    name: str
    fields: dict[str, Tensor]
    label: Tensor | None


class Samples(Sequence[Sample]):
    """Half of a data set: samples by number, each read when it is asked for.

    ids: their names, in the same order.
    """

    ids: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices
        """Read one sample. Raises DataError naming the file that is wrong."""

    def read_label(self, index: int) -> Tensor:
        """Label of one sample, uint8 (H, W), for those who need no more. Raises DataError.

        Readers whose labels are files of their own read only these.
        """
        label = self[index].label
        assert label is not None
        return label

    @abstractmethod
    def size(self, index: int) -> tuple[int, int]:
        """Height and width of one sample, from an image's header. Raises DataError."""
