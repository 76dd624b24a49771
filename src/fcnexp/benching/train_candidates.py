"""Nets with loss and optimiser that are trained side by side: one image a step, `heavy` regime."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fcnexp import VOID
from fcnexp.benching import nets, peer
from fcnexp.benching.measure import now
from fcnexp.benching.nets import Candidate

RATE, MOMENTUM, DECAY = 1e-14, 0.99, 5e-4  # of voc_fcn8s
PHASES = ("forward", "backward", "optimiser")


@dataclass
class Learner:
    """One row of a table: a candidate that learns. signed: its void is -1 in int64, not 255."""

    candidate: Candidate
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    device: torch.device
    signed: bool = False
    phases: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PHASES})

    def example(self, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """An image and its label, void along some lines, as this candidate takes them."""
        generator = torch.Generator().manual_seed(1)
        label = torch.randint(0, 21, (1, 1, 8, 8), generator=generator).float()
        label = F.interpolate(label, tuple(size))[:, 0].to(torch.uint8)
        label[:, :: max(2, size[0] // 8)] = VOID
        if self.signed:
            label = label.long().masked_fill(label == VOID, -1)
        image = nets.image(size).to(self.device)
        return self.candidate.place(image), label.to(self.device)

    def gradients(self, image: Tensor, label: Tensor) -> Tensor:
        """Loss of an image, with gradients left at the weights."""
        self.optimizer.zero_grad()
        with self.candidate.around():
            loss = self.loss(self.candidate.score(image), label)
        loss.backward()
        return loss.detach()

    def step(self, image: Tensor, label: Tensor) -> None:
        """Forward, backward, and the optimiser's step; keeps the seconds of each."""
        start = now(self.device)
        self.optimizer.zero_grad()
        around: AbstractContextManager[Any] = self.candidate.around()
        with around:
            loss = self.loss(self.candidate.score(image), label)
        forward = now(self.device)
        loss.backward()
        backward = now(self.device)
        self.optimizer.step()
        end = now(self.device)
        spans = (forward - start, backward - forward, end - backward)
        for name, seconds in zip(PHASES, spans, strict=True):
            self.phases[name].append(seconds)


def learner(name: str, model: str, channels: int, device: torch.device) -> Learner:
    """One learner, in training mode."""
    kind = name.partition(", ")[0]
    if kind == nets.OURS:
        return learner_of(our_task(model, channels), device, name)
    one = nets.candidate(name, nets.build(kind, model, channels).train(), device)
    # fc's dropout falls on cells and channels here, on whole channels at the peer: as each has it.
    signed = kind == nets.PEER
    loss = peer.cross_entropy2d if signed else plain_loss
    learning = [weight for weight in one.net.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    return Learner(one, loss, optimizer, device, signed)


def learner_of(task: Any, device: torch.device, name: str = nets.OURS) -> Learner:
    """A learner with the net, the loss and the optimiser of a task of ours."""
    one = nets.candidate(name, task.net.train(), device)
    task.to(device)
    return Learner(one, task.loss, task.optimizer_factory(task.groups), device)


def our_task(model: str, channels: int) -> Any:
    """The task as `train` builds it, in the `heavy` regime, with weights by `nets.fill`."""
    task = task_of([f"experiment=voc_{model}", "init=scratch", f"head.channels={channels}"])
    nets.fill(nets.layers(task.net))
    return task


def task_of(overrides: Sequence[str]) -> Any:
    """The task that `train` would build with these overrides."""
    from fcnexp import build
    from fcnexp.config.checks import check
    from fcnexp.config.compose import compose_run

    cfg = check(compose_run(list(overrides)))
    return build.build_task(cfg, build.part(cfg, "data"))


def plain_loss(scores: Tensor, label: Tensor) -> Tensor:
    """Cross entropy summed over pixels, the way PyTorch's own documentation does it."""
    scores = scores if scores.dtype == torch.float64 else scores.float()
    return F.cross_entropy(scores, label.long(), ignore_index=VOID, reduction="sum")


def learners(
    wanted: Sequence[str], model: str, channels: int, device: torch.device
) -> list[Learner]:
    """Several learners that have nothing in common but their weights' values."""
    return [learner(name, model, channels, device) for name in wanted]
