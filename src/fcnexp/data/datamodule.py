"""Batches for training and scoring, from any pair of data sets."""

import logging
import os
import signal
import sys
import threading
from dataclasses import replace
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from fcnexp.data.collate import Batch, collate_and_share
from fcnexp.data.folders import Chosen
from fcnexp.data.sample import Sample, Samples
from fcnexp.data.sampling import Dealt, Draw, EndlessShuffle, ReleaseDraws
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


class OwnShare(Dataset[Sample]):
    """The samples that one of several processes scores: every `processes`-th.

    Where none is left for it, it gets the first without a label, so that the process takes part and
    counts nothing.
    """

    def __init__(self, samples: Samples, rank: int, processes: int) -> None:
        self.samples = samples
        self.indices = range(rank, len(samples), processes)

    def __len__(self) -> int:
        return max(1, len(self.indices))

    def __getitem__(self, index: int) -> Sample:
        """Read one sample. Raises IndexError behind the last."""
        if not self.indices and index == 0:
            return replace(self.samples[0], label=None)
        return self.samples[self.indices[index]]


class SegmentationData(L.LightningDataModule):
    """Endless random training batches; validation images one by one, whole, in list order.

    fields: names of those that are read. sampling: `shuffle` (`EndlessShuffle`) or
    `with_replacement` (`ReleaseDraws`); any other raises ValueError.
    first_draw: where the training draws begin, set to more than 0 to go on with a stopped run.
    batch_size: images in a pass of one process. block: of draws, for one process before the next
    has its turn, where the Trainer has several; see `Dealt`.
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
        block: int = 1,
    ) -> None:
        super().__init__()
        if sampling not in _SAMPLERS:
            raise ValueError(f"sampling={sampling}: choose one of {', '.join(_SAMPLERS)}")
        self.data, self.augment, self.fields = data, augment, fields
        self.sampling, self.first_draw = sampling, 0
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.block = block
        self.train: Samples | None = None

    @classmethod
    def for_scoring(
        cls, data: DataSet, fields: tuple[str, ...], num_workers: int
    ) -> "SegmentationData":
        """One whose validation half is scored and nothing trained."""
        return cls(
            data,
            fields=fields,
            num_workers=num_workers,
            batch_size=1,  # of training, as is what follows: nobody asks for it
            seed=0,
            sampling="shuffle",
        )

    def _place(self) -> tuple[int, int]:
        """Number of this process, and how many there are."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def setup(self, stage: str) -> None:
        """Open what the stage needs. Raises DataError naming what is missing."""
        if stage == "fit" and self.train is None:  # the trainer calls this once more
            assert self.augment is not None
            self.train = large_enough(self.data.train(self.fields), self.augment)
        self.val = self.data.val(self.fields)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of `batch_size` draws, without end."""
        assert self.augment is not None and self.train is not None
        samples = AugmentedDraws(self.train, self.augment, self.seed)
        rank, processes = self._place()
        draws = _SAMPLERS[self.sampling](len(self.train), self.seed, self.first_draw)
        sampler = Dealt(draws, rank=rank, processes=processes, block=self.block)
        return self._loader(samples, batch_size=self.batch_size, sampler=sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every validation image once, by one of the processes."""
        rank, processes = self._place()
        samples = self.val if processes == 1 else OwnShare(self.val, rank, processes)
        return self._loader(samples, batch_size=1)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """The batch with its bytes on the device; sizes stay, since they lead the way of the net.

        A GPU would have to be waited for each time it is asked for them.
        """
        fields = {name: x.to(device, non_blocking=True) for name, x in batch.fields.items()}
        return batch._replace(fields=fields, label=batch.label.to(device, non_blocking=True))

    def _loader(self, samples: Any, **settings: Any) -> DataLoader[Batch]:
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return DataLoader(
            samples,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=on_gpu,  # from there a GPU fetches while it works on the batch before
            collate_fn=collate_and_share,
            worker_init_fn=_begin_reading,
            **settings,
        )


def _begin_reading(worker: int) -> None:
    """Make a process that reads images deaf to Ctrl-C and SIGTERM, which all of a job hear.

    The one that trains hears them, too, and wants images for the step that it ends. Its own
    SIGTERM ends this one, as does a thread of this one that fails, of those that hand on what was
    read: the training would else wait for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # else any SIGTERM does
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_if_told, args=(os.getppid(),), daemon=True).start()
    sys.excepthook = lambda *_: os._exit(1)  # multiprocessing's own threads call it


def _end_if_told(parent: int) -> None:
    """Wait for SIGTERM of this process, and end."""
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)


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
