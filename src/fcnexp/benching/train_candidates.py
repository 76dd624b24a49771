"""Candidates for training: a net with loss and optimiser, one image per step, `heavy` regime."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
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
    """One row of a table: a candidate to train. signed: void is -1 in int64 instead of 255."""

    candidate: Candidate
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    device: torch.device
    signed: bool = False
    phases: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PHASES})

    def example(self, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Random image and label, with some rows of void, in this candidate's formats."""
        generator = torch.Generator().manual_seed(1)
        label = torch.randint(0, 21, (1, 1, 8, 8), generator=generator).float()
        label = F.interpolate(label, tuple(size))[:, 0].to(torch.uint8)
        label[:, :: max(2, size[0] // 8)] = VOID
        if self.signed:
            label = label.long().masked_fill(label == VOID, -1)
        image = nets.image(size).to(self.device)
        return self.candidate.place(image), label.to(self.device)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        """Reset the gradients and return the loss."""
        self.optimizer.zero_grad()
        with self.candidate.around():
            return self.loss(self.candidate.score(image), label)

    def step(self, image: Tensor, label: Tensor) -> None:
        """Run forward, backward and the optimiser's step, and record the seconds of each."""
        times = [now(self.device)]
        loss = self.forward(image, label)
        times.append(now(self.device))
        loss.backward()
        times.append(now(self.device))
        self.optimizer.step()
        times.append(now(self.device))
        for name, (start, end) in zip(PHASES, pairwise(times), strict=True):
            self.phases[name].append(end - start)


def learner(name: str, model: str, channels: int, device: torch.device) -> Learner:
    """Return a learner by its candidate's name, in training mode; no two share weights."""
    kind = name.partition(", ")[0]
    if kind == nets.OURS:
        return learner_of(our_task(model, channels), device, name)
    one = nets.candidate(name, nets.build(kind, model, channels).train(), device)
    # Dropout is each net's own: per value in the textbook net, per channel in torchfcn.
    signed = kind == nets.PEER
    loss = peer.cross_entropy2d if signed else plain_loss
    weights = [weight for weight in one.net.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    return Learner(one, loss, optimizer, device, signed)


def learner_of(task: Any, device: torch.device, name: str = nets.OURS) -> Learner:
    """Return a learner with the net, the loss and the optimiser of one of our tasks."""
    one = nets.candidate(name, task.net.train(), device)
    task.to(device)
    return Learner(one, task.loss, task.optimizer_factory(task.groups), device)


def our_task(model: str, channels: int) -> Any:
    """Build the task as `train` does, in the `heavy` regime, with weights by `nets.fill`."""
    task = task_of([f"experiment=voc_{model}", "init=scratch", f"head.channels={channels}"])
    nets.fill(nets.layers(task.net))
    return task


def task_of(overrides: Sequence[str]) -> Any:
    """Build the task as `train` does with these overrides."""
    from fcnexp import build
    from fcnexp.config.checks import check
    from fcnexp.config.compose import compose_run

    cfg = check(compose_run(list(overrides)))
    return build.build_task(cfg, build.part(cfg, "data"))


def plain_loss(scores: Tensor, label: Tensor) -> Tensor:
    """Cross entropy summed over pixels, as in PyTorch's documentation."""
    scores = scores if scores.dtype == torch.float64 else scores.float()
    return F.cross_entropy(scores, label.long(), ignore_index=VOID, reduction="sum")
