import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

from fcnexp.data.collate import collate
from fcnexp.data.sample import Sample
from fcnexp.task.module import SegmentationTask, best_class
from fcnexp.task.trimap import TrimapScores


def test_best_class_is_the_first_of_the_highest_in_any_memory_format():
    scores = torch.randint(4, (2, 7, 9, 11), generator=torch.Generator().manual_seed(0)).float()
    scores[0, 3, 2, 2] = torch.nan
    first = scores.numpy().argmax(1)  # NumPy returns the first, and treats NaN as highest
    assert (scores[0].amax(0) == scores[0].sort(0).values[-2]).any()  # there are ties
    for order in (torch.contiguous_format, torch.channels_last):
        found = best_class(scores.contiguous(memory_format=order), axis=1)
        assert found.dtype == torch.uint8 and found.tolist() == first.tolist()


class Threshold(nn.Module):
    """Predicts class 1 where an image is brighter than a level, and counts its runs."""

    def __init__(self) -> None:
        super().__init__()
        self.level, self.runs = nn.Parameter(torch.tensor(0.5)), 0

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        self.runs += 1
        bright = inputs["rgb"][:, 0] - self.level
        return torch.stack([-bright, bright], 1)

    def score_each(self, inputs: dict[str, torch.Tensor], sizes: list) -> torch.Tensor:
        return torch.cat([self({"rgb": image[None]}) for image in inputs["rgb"]])


class Unit:
    """Input recipe that maps 0..255 to 0..1."""

    fields = {"rgb": None}

    def apply(self, fields, sizes):
        return {name: field / 255 for name, field in fields.items()}

    def facts(self):
        return {}


def scored(*names: str, keep: set[str]) -> tuple[SegmentationTask, L.Trainer, list[Sample]]:
    """A task that has scored images of several sizes, in pairs, and kept some predictions."""
    draw = torch.Generator().manual_seed(0)
    samples = []
    for number, name in enumerate(names):
        rgb = torch.randint(256, (3, 4 + number, 9 - number), generator=draw).to(torch.uint8)
        samples.append(Sample(name, {"rgb": rgb}, (rgb[0] > 127).to(torch.uint8)))
    task = SegmentationTask(Threshold(), Unit(), ("dark", "bright"))
    task.keep = frozenset(keep)
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.validate(task, DataLoader(samples, batch_size=2, collate_fn=collate), verbose=False)
    return task, trainer, samples


def test_pictures_show_the_last_scoring_without_running_the_net_again():
    task, _, samples = scored("a", "b", "c", keep={"a", "c"})
    runs = task.net.runs
    assert set(task.kept) == {"a", "c"} and runs == 3
    with torch.no_grad():
        task.net.level.fill_(2)  # the stored predictions are used, not new ones
    for sample in (samples[0], samples[2]):
        found = task.prediction_of(sample.name, sample.fields, sample.label)
        assert found.dtype == torch.uint8 and torch.equal(found, sample.label)
    assert task.net.runs == runs
    again = task.prediction_of("b", samples[1].fields, samples[1].label)
    assert task.net.runs == runs + 1 and not again.any() and again.shape == samples[1].label.shape


def test_each_scoring_keeps_only_its_own_predictions():
    task, trainer, samples = scored("a", "b", "c", keep={"a", "b"})
    with torch.no_grad():
        task.net.level.fill_(2)
    task.keep = frozenset({"b"})
    trainer.validate(task, DataLoader(samples, collate_fn=collate), verbose=False)
    assert set(task.kept) == {"b"} and not task.kept["b"].any()


def test_bands_are_summed_while_the_task_is_on_its_device():
    """After `validate` Lightning moves the task to the CPU, where NCCL cannot sum."""
    task, trainer, samples = scored("a", "b", keep=set())
    assert task.bands is None
    task.trimap, expected = TrimapScores(2, (1, 3)), TrimapScores(2, (1, 3))
    for sample in samples:
        expected.update(sample.label[None], sample.label[None])
    for _ in range(2):  # each scoring starts from zero
        trainer.validate(task, DataLoader(samples, collate_fn=collate), verbose=False)
        assert torch.equal(task.bands, expected.compute())
