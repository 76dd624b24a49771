"""Maps of a wrong dtype, shape or value never give a score, a loss or a batch."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from fcnexp.data.collate import collate
from fcnexp.data.datamodule import AugmentedDraws
from fcnexp.data.sample import Sample
from fcnexp.data.sampling import Draw
from fcnexp.data.transforms import Augment
from fcnexp.errors import UserError
from fcnexp.predicting.windows import label_maps
from fcnexp.scoring.objects import objects_of
from fcnexp.scoring.scores import four_scores
from fcnexp.scoring.tasks import Task
from fcnexp.task.counting import Counts
from fcnexp.task.four_scores import scores_of
from fcnexp.task.losses import PixelLoss
from fcnexp.task.masking import mask
from fcnexp.task.module import SegmentationTask
from fcnexp.task.scores import SegmentationScores, count_pairs
from fcnexp.task.trimap import TrimapScores

CLASSES, SIDES = 3, (2, 8, 9)  # N, H, W
TRUTH = torch.arange(2 * 8 * 9).view(SIDES).remainder(CLASSES).byte()
PAIRS = {  # of prediction and label
    "scores instead of classes": (torch.rand(SIDES), TRUTH, "dtype"),
    "probabilities in float16": (torch.rand(SIDES).half(), TRUTH, "dtype"),
    "complex numbers": (torch.rand(SIDES) + 0j, TRUTH, "dtype"),
    "a mask of bool": (TRUTH == 1, TRUTH, "dtype"),
    "a label of floats": (TRUTH, TRUTH / 2, "dtype"),
    "a label of bool": (TRUTH, TRUTH > 0, "dtype"),
    "one pixel": (torch.ones(2, 1, 1).byte(), TRUTH, "shape"),
    "one row": (torch.ones(2, 1, 9).byte(), TRUTH, "shape"),
    "a label of one pixel": (TRUTH, torch.ones(2, 1, 1).byte(), "shape"),
    "transposed": (TRUTH.mT, TRUTH, "shape"),
    "flattened": (TRUTH.view(2, -1), TRUTH, "shape"),
    "other sides, as many pixels": (TRUTH.view(2, 6, 12), TRUTH, "shape"),
    "half the size": (TRUTH[:, ::2, ::2], TRUTH, "shape"),
    "scores of each class": (TRUTH[:, None].expand(-1, CLASSES, -1, -1), TRUTH, "shape"),
    "fewer images": (TRUTH[:1], TRUTH, "shape"),
    "a class too many": (torch.full(SIDES, CLASSES), TRUTH, "outside"),
    "void predicted": (torch.full(SIDES, 255).byte(), TRUTH, "outside"),
    "a label beyond the classes": (TRUTH, TRUTH + CLASSES, "outside"),
    "a label of 255 in int16": (TRUTH, torch.full(SIDES, 255).short(), "outside"),
    "a label of -1 in int64": (TRUTH, torch.full(SIDES, -1), "outside"),
}


def loss_of(scores: torch.Tensor, label: torch.Tensor, reduction: str = "sum") -> torch.Tensor:
    return PixelLoss(reduction=reduction, keep=1, cell=1, balance=None)(scores, label)


def counts_of(prediction: torch.Tensor, label: torch.Tensor) -> None:
    batch = SimpleNamespace(label=label, names=["a", "b"], sizes=torch.tensor([[8, 9]] * 2))
    Counts(Task("class", ("a", "b", "c"))).update(prediction, batch, frozenset())


METRICS: dict[str, Callable[[torch.Tensor, torch.Tensor], object]] = {
    "metric": lambda p, t: SegmentationScores(CLASSES).update(p, t),
    "metric called": lambda p, t: SegmentationScores(CLASSES)(p, t),
    "one image": lambda p, t: count_pairs(p[0], t[0], CLASSES),
    "bands": lambda p, t: TrimapScores(CLASSES, (1, 2)).update(p, t),
    "task": counts_of,
}
TASK_SCORES = torch.rand(2, CLASSES, 8, 9)
ELSEWHERE: dict[str, tuple[Callable[[], object], str]] = {
    "metric of 300 classes, label of int64": (
        lambda: SegmentationScores(300).update(TRUTH.long(), TRUTH.long()),
        "give int16",
    ),
    "metric of 300 classes, label of uint8": (
        lambda: SegmentationScores(300).update(TRUTH, TRUTH),
        "give int16",
    ),
    "objects of floats": (lambda: objects_of(TRUTH[0].numpy() / 2, TRUTH[0].numpy()), "float64"),
    "objects of one pixel": (
        lambda: objects_of(TRUTH[0].numpy(), np.ones((1, 1), np.uint8)),
        r"\(1, 1\)",
    ),
    "scores of no square": (lambda: scores_of(torch.ones(2, 3).long()), "shape"),
    "scores of a pile": (lambda: scores_of(torch.ones(2, 3, 3).long()), "shape"),
    "scores of margins with a row too many": (lambda: four_scores(np.ones((4, 3))), "margins"),
    "loss of a label in floats": (lambda: loss_of(TASK_SCORES, TRUTH / 2), "dtype"),
    "loss of a label of bool": (lambda: loss_of(TASK_SCORES, TRUTH > 0), "dtype"),
    "loss of a smaller label": (lambda: loss_of(TASK_SCORES, TRUTH[:, :4]), "shape"),
    "loss of one pixel": (lambda: loss_of(TASK_SCORES, TRUTH[:, :1, :1]), "shape"),
    "loss of fewer labels": (lambda: loss_of(TASK_SCORES, TRUTH[:1]), "shape"),
    "masked by one pixel": (
        lambda: mask({"rgb": torch.ones(2, 3, 8, 9)}, TRUTH[:, :1, :1], "foreground", dict),
        "shape",
    ),
    "masked by floats": (
        lambda: mask({"rgb": torch.ones(2, 3, 8, 9)}, TRUTH / 2, "foreground", dict),
        "dtype",
    ),
}


def sample(name: str = "a", **changes: object) -> Sample:
    """An image of 8 x 9 pixels with some of its maps replaced."""
    fields = {
        "rgb": torch.full((3, 8, 9), 7, dtype=torch.uint8),
        "depth": torch.full((1, 8, 9), 1000, dtype=torch.int32),
    }
    own = {key: value for key, value in changes.items() if key in fields}
    return Sample(name, fields | own, changes.get("label", TRUTH[0]), changes.get("further", {}))


SAMPLES = {
    "rgb in floats": sample(rgb=torch.rand(3, 8, 9)),
    "rgb of one channel": sample(rgb=torch.ones(1, 8, 9).byte()),
    "rgb with its channels last": sample(rgb=torch.ones(8, 9, 3).byte()),
    "depth in metres": sample(depth=torch.rand(1, 8, 9)),
    "depth of another size": sample(depth=torch.ones(1, 4, 4).int()),
    "depth without its channel": sample(depth=torch.ones(8, 9).int()),
    "label in floats": sample(label=TRUTH[0] / 2),
    "label of half the size": sample(label=TRUTH[0, ::2, ::2]),
    "label of one pixel": sample(label=TRUTH[0, :1, :1]),
    "label with a channel": sample(label=TRUTH[:1]),
    "further label in floats": sample(further={"geo": TRUTH[0] / 2}),
    "further label of another size": sample(further={"geo": TRUTH[0, :4]}),
}
OTHERS = {  # samples after a good one
    "without a field": Sample("b", {"rgb": sample().fields["rgb"]}, TRUTH[0]),
    "label in int16": sample("b", label=TRUTH[0].short()),
    "label in int64": sample("b", label=TRUTH[0].long()),
    "depth in int64": sample("b", depth=torch.ones(1, 8, 9).long()),
    "with a further label": sample("b", further={"geo": TRUTH[0]}),
}


class Net(nn.Module):
    """Gives the same scores for any image."""

    def __init__(self, scores: torch.Tensor) -> None:
        super().__init__()
        self.scores = scores

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.scores


class Plain:
    fields = {"rgb": None}

    def apply(self, fields, sizes):
        return {"rgb": fields["rgb"].float()}


def scored(scores: torch.Tensor) -> object:
    task = SegmentationTask(Net(scores), Plain(), ("a", "b", "c"))
    return task.validation_step(collate([sample("a"), sample("b")]), 0)


def pictured(scores: torch.Tensor) -> object:
    """Label one image as `predict` does."""
    net = SimpleNamespace(
        class_names=("a", "b", "c"),
        tiling=None,
        device=torch.device("cpu"),
        scores=lambda fields: scores[0],
        bytes_of=lambda height, width: 1,
    )
    return label_maps(net, {"rgb": torch.ones(3, 8, 9).byte()}, None, [slice(0, 3)])


def spoilt(value: float) -> torch.Tensor:
    """Scores of which one is not finite."""
    scores = TASK_SCORES.clone()
    scores[1, :, 3, 4] = value
    return scores


NETS = {
    "a class too many": (lambda: scored(torch.rand(2, 4, 8, 9)), "shape"),
    "a class too few": (lambda: scored(torch.rand(2, 2, 8, 9)), "shape"),
    "one score for all pixels": (lambda: scored(torch.rand(2, 3, 1, 1)), "shape"),
    "scores of half the size": (lambda: scored(torch.rand(2, 3, 4, 4)), "shape"),
    "NaN": (lambda: scored(spoilt(float("nan"))), "b: scores of the net are NaN"),
    "infinity": (lambda: scored(spoilt(float("inf"))), "b: scores of the net are NaN"),
    "minus infinity": (lambda: scored(spoilt(float("-inf"))), "b: scores of the net are NaN"),
    "NaN, predicted": (lambda: pictured(spoilt(float("nan"))[1:]), "scores of the net are NaN"),
}


def drawn(given: Sample) -> object:
    """Augment a sample by a crop, which would hide that its maps differ."""
    off = {"resize": None, "mirror": 0.5, "scale": (1, 1), "drop_smaller": False, "colour": 0}
    return AugmentedDraws([given], Augment(**off, crop=4, jitter=0), 0)[Draw(0, 0)]


def attacks() -> dict[str, tuple[Callable[[], object], str]]:
    """What is tried, and words of the message that refuses it, by family and name."""
    found = {
        f"{where}: {name}": (lambda count=count, p=p, t=t: count(p, t), words)
        for where, count in METRICS.items()
        for name, (p, t, words) in PAIRS.items()
        if (where, name) != ("one image", "fewer images")
    }
    found |= {f"elsewhere: {name}": each for name, each in ELSEWHERE.items()}
    found |= {f"sample: {n}": (lambda s=s: collate([s]), "^a: ") for n, s in SAMPLES.items()}
    found |= {f"drawn: {n}": (lambda s=s: drawn(s), "^a: ") for n, s in SAMPLES.items()}
    found |= {
        f"batch: {name}": (lambda s=s: collate([sample(), s]), "^b differs from a")
        for name, s in OTHERS.items()
    }
    return found | {f"net: {name}": each for name, each in NETS.items()}


@pytest.mark.parametrize("name", attacks())
def test_nonsense_is_refused(name):
    act, words = attacks()[name]
    with pytest.raises((ValueError, UserError), match=words):
        act()


def test_number_of_attacks(tell):
    tell(f"nonsense given to metric, loss, batch and net: {len(attacks())} attacks, 0 accepted")


def test_what_is_right_is_still_accepted():
    for count in METRICS.values():
        count(TRUTH.long(), TRUTH)
    wide = torch.tensor([[[299, -1], [0, 7]]]).short()
    metric = SegmentationScores(300)
    metric.update(wide.clamp(min=0), wide)
    assert metric.matrix.sum() == metric.matrix.trace() == 3
    few = SegmentationScores(3)  # int16 has its own void, however few the classes
    few.update(torch.tensor([[[1, 2]]]), torch.tensor([[[1, -1]]]).short())
    assert few.matrix.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert collate([sample("a"), sample("b")]).label.shape == SIDES
    assert torch.equal(scored(TASK_SCORES), TASK_SCORES.argmax(1).byte())
    assert pictured(TASK_SCORES)[0].tolist() == TASK_SCORES[0].argmax(0).tolist()
