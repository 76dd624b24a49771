"""Batches of images of different sizes."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from fcnexp import void_of
from fcnexp.data.sample import Sample


class Batch(NamedTuple):
    """Images padded at the lower right to a common size, with void labels there.

    fields: by name, (N, 3, H, W) uint8 `rgb` and `hha`, (N, 1, H, W) int32 `depth` in mm; padding
        is 0 and becomes the mean when the input recipe is applied.
    label: (N, H, W), of the samples' type, of the first task; see `void_of`. further: of the other
        tasks, by name.
    sizes: int64 (N, 2), height and width of each image. names: their ids.
    """

    fields: dict[str, Tensor]
    label: Tensor
    sizes: Tensor
    names: list[str]
    further: dict[str, Tensor]


def collate_and_share(samples: list[Sample]) -> Batch:
    """Collate as `collate` does; in a worker process, put the batch into shared memory.

    If shared memory runs out, this raises RuntimeError here rather than in a torch thread whose
    exceptions are lost.
    """
    batch = collate(samples)
    if get_worker_info() is not None:
        maps = (*batch.fields.values(), *batch.further.values())
        for tensor in (batch.label, batch.sizes, *maps):
            tensor.share_memory_()
    return batch


def collate(samples: list[Sample]) -> Batch:
    """Return one padded batch of samples; a sample without label becomes all void."""
    shapes = [next(iter(sample.fields.values())).shape[-2:] for sample in samples]
    height, width = (max(side) for side in zip(*shapes, strict=True))
    fields = {
        name: field.new_zeros(len(samples), field.shape[0], height, width)
        for name, field in samples[0].fields.items()
    }
    for i, (sample, (h, w)) in enumerate(zip(samples, shapes, strict=True)):
        for name, field in sample.fields.items():
            fields[name][i, :, :h, :w] = field
    size = (height, width)
    label = _padded([sample.label for sample in samples], size)
    further = {
        task: _padded([None if s.label is None else s.further[task] for s in samples], size)
        for task in samples[0].further
    }
    names = [sample.name for sample in samples]
    return Batch(fields, label, torch.tensor(shapes), names, further)


def _padded(labels: list[Tensor | None], size: tuple[int, int]) -> Tensor:
    """Labels of one task, (N, H, W) of their type, with void around them; None is all void."""
    known = [label.dtype for label in labels if label is not None]
    padded = torch.empty(len(labels), *size, dtype=known[0] if known else torch.uint8)
    padded.fill_(void_of(padded))
    for i, label in enumerate(labels):
        if label is not None:
            padded[i, : label.shape[0], : label.shape[1]] = label
    return padded
