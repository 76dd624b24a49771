"""Lightning data module: batches for training and scoring from any data set."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
from dataclasses import replace
from multiprocessing.context import BaseContext
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Timer
from torch.utils.data import DataLoader, Dataset

from fcnexp.data.collate import Batch, collate_and_share
from fcnexp.data.folders import Chosen
from fcnexp.data.sample import Sample, Samples, refuse_odd
from fcnexp.data.sampling import Dealt, Draw, EndlessShuffle, ReleaseDraws
from fcnexp.data.splits import DataSet
from fcnexp.data.transforms import Augment
from fcnexp.errors import DataError

log = logging.getLogger(__name__)

STARTED_BY = ("fork", "spawn", "forkserver")  # Python's own ways to start a process

_SAMPLERS = {"shuffle": EndlessShuffle, "with_replacement": ReleaseDraws}


class AugmentedDraws(Dataset[Sample]):
    """Training samples by draw, each augmented with the seed (run seed, draw number)."""

    def __init__(self, samples: Samples, augment: Augment, seed: int) -> None:
        self.samples, self.augment, self.seed = samples, augment, seed

    def __getitem__(self, draw: Draw) -> Sample:
        """Read and augment one drawn image."""
        seed = int(np.random.SeedSequence([self.seed, draw.number]).generate_state(1)[0])
        sample = self.samples[draw.image]
        refuse_odd(sample)  # before a crop or a resize hides that an image and its label differ
        return self.augment(sample, seed)


class OwnShare(Dataset[Sample]):
    """The samples that one of several processes scores: every `processes`-th from `rank` on.

    If there are none, it holds the first sample without its labels and name, so that the process
    takes part in collective operations but adds nothing to the scores.
    """

    def __init__(self, samples: Samples, rank: int, processes: int) -> None:
        self.samples = samples
        self.indices = range(rank, len(samples), processes)

    def __len__(self) -> int:
        return max(1, len(self.indices))

    def __getitem__(self, index: int) -> Sample:
        """Read one sample. Raises IndexError after the last."""
        if not self.indices and index == 0:
            return replace(self.samples[0], label=None, name="")
        return self.samples[self.indices[index]]


class SegmentationData(L.LightningDataModule):
    """Endless random training batches; whole validation images, in list order.

    fields: names of the fields to read. sampling: `shuffle` (`EndlessShuffle`) or
    `with_replacement` (`ReleaseDraws`); any other raises ValueError.
    first_draw: number of the first training draw, more than 0 to resume a stopped run.
    batch_size: images per pass and process; score_batch: the same in validation.
    block: consecutive draws per process if the Trainer has several; see `Dealt`.
    """

    def __init__(
        self,
        data: DataSet,
        augment: Augment | None = None,
        *,
        fields: tuple[str, ...],
        batch_size: int,
        score_batch: int = 1,
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
        self.batch_size, self.score_batch = batch_size, score_batch
        self.num_workers, self.seed, self.block = num_workers, seed, block
        self.train: Samples | None = None

    @classmethod
    def for_scoring(
        cls, data: DataSet, fields: tuple[str, ...], num_workers: int, *, score_batch: int = 1
    ) -> "SegmentationData":
        """Create a data module for scoring the validation set, without training."""
        return cls(
            data,
            fields=fields,
            num_workers=num_workers,
            score_batch=score_batch,
            batch_size=1,  # unused, like the settings below: they are for training
            seed=0,
            sampling="shuffle",
        )

    def _place(self) -> tuple[int, int]:
        """Return the rank of this process and the number of processes."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def setup(self, stage: str) -> None:
        """Open what the stage needs. Raises DataError naming what is missing."""
        if stage == "fit" and self.train is None:  # the trainer calls this twice
            assert self.augment is not None
            self.train = large_enough(self.data.train(self.fields), self.augment)
        self.val = self.data.val(self.fields)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Endless batches of `batch_size` draws.

        Raises RuntimeError before `setup("fit")`, and if the Trainer would never end.
        """
        if self.augment is None:
            raise RuntimeError("SegmentationData.for_scoring has no training batches")
        if self.train is None:
            raise RuntimeError('call setup("fit") before train_dataloader(), as a Trainer does')
        self._refuse_endless_training()
        samples = AugmentedDraws(self.train, self.augment, self.seed)
        rank, processes = self._place()
        draws = _SAMPLERS[self.sampling](len(self.train), self.seed, self.first_draw)
        sampler = Dealt(draws, rank=rank, processes=processes, block=self.block)
        return self._loader(samples, batch_size=self.batch_size, sampler=sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every validation image once, by one of the processes.

        Raises RuntimeError before `setup`.
        """
        if not hasattr(self, "val"):
            raise RuntimeError('call setup("validate") before val_dataloader(), as a Trainer does')
        rank, processes = self._place()
        samples = self.val if processes == 1 else OwnShare(self.val, rank, processes)
        return self._loader(samples, batch_size=self.score_batch)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move the fields and labels to the device; sizes stay on the CPU.

        The network's control flow depends on sizes: reading them from a GPU would wait for it.
        """
        fields, further = (
            {name: x.to(device, non_blocking=True) for name, x in maps.items()}
            for maps in (batch.fields, batch.further)
        )
        label = batch.label.to(device, non_blocking=True)
        return batch._replace(fields=fields, label=label, further=further)

    def _refuse_endless_training(self) -> None:
        """Raise RuntimeError if the Trainer counts epochs: the draws never complete one."""
        trainer = self.trainer
        if trainer is None or trainer.max_steps != -1 or trainer.max_epochs == -1:
            return
        timed = any(isinstance(each, Timer) for each in trainer.callbacks)  # type: ignore[attr-defined]  # set late
        if timed or isinstance(trainer.limit_train_batches, int):
            return
        assert self.train is not None
        batches = -(-len(self.train) // self.batch_size)
        raise RuntimeError(
            f"training batches are endless, so that an epoch never ends: "
            f"give the Trainer max_steps=N, or limit_train_batches={batches}, which makes an "
            f"epoch of these {len(self.train)} images in batches of {self.batch_size}"
        )

    def _loader(self, samples: Any, **settings: Any) -> DataLoader[Batch]:
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return DataLoader(
            samples,
            num_workers=self.num_workers,
            multiprocessing_context=_context() if self.num_workers else None,
            persistent_workers=self.num_workers > 0,
            pin_memory=on_gpu,  # lets the copy overlap with the previous batch
            collate_fn=collate_and_share,
            worker_init_fn=_ignore_job_signals,
            **settings,
        )


def _context() -> BaseContext:
    """Return what starts workers: the method chosen for this process, if it is one of Python's own.

    joblib chooses another for its processes, `loky`, which DataLoader cannot use: workers would
    fail with "'Process' object has no attribute 'env'".
    """
    own = multiprocessing.get_all_start_methods()  # the first is the system's default
    chosen = multiprocessing.get_start_method()
    return multiprocessing.get_context(chosen if chosen in STARTED_BY else own[0])


def _ignore_job_signals(worker: int) -> None:
    """Make a worker ignore Ctrl-C and SIGTERM, which are sent to every process of a job.

    The training process gets them too, and needs images for the step that it finishes. The worker
    ends on a SIGTERM from the training process, and if one of the threads that pass on its results
    fails: training would otherwise wait forever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # without it, any SIGTERM ends the worker
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_exit_on_sigterm_from, args=(os.getppid(),), daemon=True).start()
    sys.excepthook = lambda *_: os._exit(1)  # called when one of multiprocessing's threads fails


def _exit_on_sigterm_from(parent: int) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)


def large_enough(samples: Samples, augment: Augment) -> Samples:
    """Return the samples that the augmentation keeps, judged by image headers; log their number.

    Raises DataError if none is left.
    """
    if not augment.drop_smaller:
        return samples
    kept = Chosen([(samples, i) for i in range(len(samples)) if augment.keeps(samples.size(i))])
    height, width = augment.window or (0, 0)
    what = f"{height}x{width} (height x width)"
    if not kept:
        raise DataError(
            f"augment.drop_smaller=true: none of {len(samples)} training images has {what}; set a "
            "smaller augment.crop, or augment.drop_smaller=false"
        )
    log.info("%d of %d training images have at least %s", len(kept), len(samples), what)
    return kept
