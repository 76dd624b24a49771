"""The average of the weights, against one computed by hand."""

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fcnexp.task.averaging import Ema

DATA = DataLoader(TensorDataset(torch.arange(1.0, 13)[:, None]), batch_size=2)  # 6 batches


class Line(L.LightningModule):
    """A weight that SGD moves, a batch norm's buffers, and a constant; keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.3]))
        self.norm = nn.BatchNorm1d(1)
        self.register_buffer("constant", torch.tensor([0.1, 1 / 3]))
        self.after_steps: list[float] = []
        self.scored: list[float] = []

    def training_step(self, batch, _):
        return (self.norm(batch[0] * self.weight) + batch[0] * self.weight).square().mean()

    def on_train_batch_end(self, *_):
        self.after_steps.append(self.weight.item())

    def validation_step(self, batch, _):
        self.scored.append(self.weight.item())

    def configure_optimizers(self):
        return torch.optim.SGD([self.weight], lr=0.0005)


def fit(ema: Ema, every: int = 3) -> Line:
    module = Line()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, val_check_interval=every, callbacks=[ema],
        num_sanity_val_steps=0, enable_model_summary=False, **quiet,
    )  # fmt: skip
    trainer.fit(module, DATA, DATA)
    return module


def averages(weights: list[float], decay: float, *, warmup: bool, every: int = 1) -> list[float]:
    """The average after each step, by its definition; before the first update the first weights."""
    found, average, updates = [], 0.3, 0
    for step, weight in enumerate(weights, start=1):
        if step % every == 0:
            now = min(decay, (1 + updates) / (10 + updates)) if warmup else decay
            average = weight if updates == 0 else now * average + (1 - now) * weight
            updates += 1
        found.append(average)
    return found


@pytest.mark.parametrize(
    ("decay", "warmup", "every"),
    [(0.5, False, 1), (0.9, True, 1), (0.12, True, 1), (0.5, False, 2)],
)
def test_scorings_and_the_end_have_the_average_and_training_does_not(decay, warmup, every):
    module = fit(Ema(decay=decay, warmup=warmup, every=every, device=None))
    steps = module.after_steps
    assert len(set(steps)) == 6, "the weights do not move"
    expected = averages(steps, decay, warmup=warmup, every=every)
    assert module.scored[0] == pytest.approx(expected[2], abs=1e-6)
    assert module.scored[-1] == pytest.approx(expected[5], abs=1e-6)
    assert module.weight.item() == pytest.approx(expected[5], abs=1e-6)
    # The steps are those without an average: scoring gives the weights back.
    plain = fit(Ema(decay=0.0, warmup=False, every=7, device=None)).after_steps
    assert steps == plain


def test_constants_stay_as_they_are_and_counts_are_the_last():
    module = fit(Ema(decay=0.7, warmup=False, every=1, device=None))
    assert torch.equal(module.constant, torch.tensor([0.1, 1 / 3]))
    assert module.norm.num_batches_tracked.item() == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decay": 1.0}, "decay=1.0: must be 0 or more and below 1"),
        ({"every": 0}, "every=0: must be"),
    ],
)
def test_impossible_averages_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Ema(**{"decay": 0.9, "warmup": True, "every": 1, "device": None} | settings)
