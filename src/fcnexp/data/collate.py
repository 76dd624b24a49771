"""Batches of images of different sizes."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from fcnexp import void_of
from fcnexp.data.sample import Sample, refuse_odd
from fcnexp.errors import DataError


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
    """Return one padded batch of samples; a sample without label becomes all void.

    Raises DataError, naming an image, if its maps are not as `Sample` says, or of another kind than
    those of the first: they would be cast to it.
    """
    for sample in samples:
        refuse_odd(sample)
        if differs := _differs(sample, samples[0]):
            raise DataError(
                f"{sample.name} differs from {samples[0].name} in {differs}: give all images of a "
                "data set the same fields, labels and types"
            )
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


def _differs(sample: Sample, first: Sample) -> str:
    """Say in which kind of map two samples differ; "" if in none."""
    ours, theirs = ({n: field.dtype for n, field in s.fields.items()} for s in (sample, first))
    if ours == theirs and sample.label is not None and first.label is not None:
        ours, theirs = (
            {n: x.dtype for n, x in {"label": s.label, **s.further}.items() if x is not None}
            for s in (sample, first)
        )
    return "" if ours == theirs else f"its maps ({ours}, not {theirs})"


def _padded(labels: list[Tensor | None], size: tuple[int, int]) -> Tensor:
    """Labels of one task, (N, H, W) of their type, with void around them; None is all void."""
    known = [label.dtype for label in labels if label is not None]
    padded = torch.empty(len(labels), *size, dtype=known[0] if known else torch.uint8)
    padded.fill_(void_of(padded))
    for i, label in enumerate(labels):
        if label is not None:
            padded[i, : label.shape[0], : label.shape[1]] = label
    return padded
