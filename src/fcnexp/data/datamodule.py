"""Batches for training and scoring, from any pair of data sets."""

from collections.abc import Sequence

import lightning as L
import numpy as np
from torch.utils.data import DataLoader, Dataset

from fcnexp.data.collate import Batch, collate
from fcnexp.data.sample import Sample
from fcnexp.data.sampling import Draw, EndlessShuffle
from fcnexp.data.splits import DataSet
from fcnexp.data.transforms import Augment


class AugmentedDraws(Dataset[Sample]):
    """Training samples by draw, each augmented from the seed (run seed, draw number)."""

    def __init__(self, samples: Sequence[Sample], augment: Augment, seed: int) -> None:
        self.samples, self.augment, self.seed = samples, augment, seed

    def __getitem__(self, draw: Draw) -> Sample:
        """Read and augment one drawn image."""
        seed = int(np.random.SeedSequence([self.seed, draw.number]).generate_state(1)[0])
        return self.augment(self.samples[draw.image], seed)


class SegmentationData(L.LightningDataModule):
    """Endless shuffled training batches; validation images one by one, whole, in list order.

    Scores come from single images because padding changes a net's view of the border.
    """

    def __init__(
        self,
        data: DataSet,
        augment: Augment | None = None,
        *,
        batch_size: int,
        num_workers: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.data, self.augment = data, augment
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed

    def setup(self, stage: str) -> None:
        """Open what the stage needs. Raises DataError naming what is missing."""
        if stage == "fit":
            self.train = self.data.train()
        self.val = self.data.val()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of `batch_size` draws, without end."""
        assert self.augment is not None
        return DataLoader(
            AugmentedDraws(self.train, self.augment, self.seed),  # type: ignore[arg-type]
            batch_size=self.batch_size,
            sampler=EndlessShuffle(len(self.train), self.seed),
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
