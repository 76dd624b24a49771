"""Batches for training and scoring, from any pair of data sets."""

import logging

import lightning as L
import numpy as np
from torch.utils.data import DataLoader, Dataset

from fcnexp.data.collate import Batch, collate
from fcnexp.data.folders import Chosen
from fcnexp.data.sample import Sample, Samples
from fcnexp.data.sampling import Draw, EndlessShuffle, ReleaseDraws
from fcnexp.data.splits import DataSet
from fcnexp.data.transforms import Augment
from fcnexp.errors import DataError

log = logging.getLogger(__name__)

_SAMPLERS = {"shuffle": EndlessShuffle, "with_replacement": ReleaseDraws}


class AugmentedDraws(Dataset[Sample]):
    """Training samples by draw, each augmented from the seed (run seed, draw number)."""

    def __init__(self, samples: Samples, augment: Augment, seed: int) -> None:
        self.samples, self.augment, self.seed = samples, augment, seed

    def __getitem__(self, draw: Draw) -> Sample:
        """Read and augment one drawn image."""
        seed = int(np.random.SeedSequence([self.seed, draw.number]).generate_state(1)[0])
        return self.augment(self.samples[draw.image], seed)


class SegmentationData(L.LightningDataModule):
    """Endless random training batches; validation images one by one, whole, in list order.

    fields: names of those that are read. sampling: `shuffle` (`EndlessShuffle`) or
    `with_replacement` (`ReleaseDraws`); any other raises ValueError.
    first_draw: where the training draws begin, set to more than 0 to go on with a stopped run.
    Scores come from single images because padding changes a net's view of the border.
    """

    def __init__(
        self,
        data: DataSet,
        augment: Augment | None = None,
        *,
        fields: tuple[str, ...],
        batch_size: int,
        num_workers: int,
        seed: int,
        sampling: str,
    ) -> None:
        super().__init__()
        if sampling not in _SAMPLERS:
            raise ValueError(f"sampling={sampling}: choose one of {', '.join(_SAMPLERS)}")
        self.data, self.augment, self.fields = data, augment, fields
        self.sampling, self.first_draw = sampling, 0
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.train: Samples | None = None

    def setup(self, stage: str) -> None:
        """Open what the stage needs. Raises DataError naming what is missing."""
        if stage == "fit" and self.train is None:  # the trainer calls this once more
            assert self.augment is not None
            self.train = large_enough(self.data.train(self.fields), self.augment)
        self.val = self.data.val(self.fields)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of `batch_size` draws, without end."""
        assert self.augment is not None and self.train is not None
        draws = AugmentedDraws(self.train, self.augment, self.seed)
        return DataLoader(
            draws,  # type: ignore[arg-type]  # torch names a loader after samples, not batches
            batch_size=self.batch_size,
            sampler=_SAMPLERS[self.sampling](len(self.train), self.seed, self.first_draw),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            collate_fn=collate,
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every validation image once."""
        return DataLoader(
            self.val,  # type: ignore[arg-type]  # any sequence will do
            batch_size=1,
            num_workers=self.num_workers,
            collate_fn=collate,
        )


def large_enough(samples: Samples, augment: Augment) -> Samples:
    """The samples that the augmentation keeps, by their images' headers; says how many these are.

    Raises DataError where none is left.
    """
    if not augment.drop_smaller:
        return samples
    kept = Chosen([(samples, i) for i in range(len(samples)) if augment.keeps(samples.size(i))])
    height, width = augment.window or (0, 0)
    what = f"{height}x{width} (height x width)"
    if not kept:
        raise DataError(
            f"augment.drop_smaller=true: none of {len(samples)} training images has {what}; give a "
            "smaller augment.crop, or augment.drop_smaller=false"
        )
    log.info("%d of %d training images have at least %s", len(kept), len(samples), what)
    return kept
