"""Our regimes update weights as Caffe's SGD solver does, reimplemented in NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from fcnexp.config.compose import compose_run
from fcnexp.task.losses import PixelLoss
from fcnexp.task.optim import parameter_groups

CLASSES, PIXELS = 3, 35
LR, MOMENTUM, DECAY = 0.02, 0.9, 0.05
RELEASE = [(1, 1), (2, 0)] * 2  # lr_mult, decay_mult of weight, bias; score_weight, score_bias
MULTIPLIERS = {"heavy": RELEASE, "accum": RELEASE, "d2l": [(1, 1)] * 4}


class CaffeSolver:
    """`v = momentum v + lr lr_mult (g + decay decay_mult w)`, `w -= v`; iter_size averages g.

    Source: golden/caffe/README.md. The net has two 1x1 convolutions with a ReLU between them,
    written as matrices over pixels; its gradient is derived by hand.
    """

    def __init__(self, blobs: list[np.ndarray], multipliers: list[tuple[float, float]]) -> None:
        self.blobs = [blob.copy() for blob in blobs]
        self.history = [np.zeros_like(blob) for blob in blobs]
        self.multipliers = multipliers

    def gradient(self, x: np.ndarray, label: np.ndarray) -> list[np.ndarray]:
        """Gradient of the summed softmax loss; x (C, P), label (P,)."""
        w1, b1, w2, b2 = self.blobs
        before = w1 @ x + b1[:, None]
        hidden = np.maximum(before, 0)
        scores = w2 @ hidden + b2[:, None]
        error = np.exp(scores - scores.max(0))
        error /= error.sum(0)
        error[label, np.arange(label.size)] -= 1
        back = (w2.T @ error) * (before > 0)
        return [back @ x.T, back.sum(1), error @ hidden.T, error.sum(1)]

    def step(self, images: list[tuple[np.ndarray, np.ndarray]], lr: float) -> None:
        grads = [self.gradient(*image) for image in images]
        for i, (rate, decay) in enumerate(self.multipliers):
            g = sum(grad[i] for grad in grads) / len(images) + DECAY * decay * self.blobs[i]
            self.history[i] = MOMENTUM * self.history[i] + lr * rate * g
            self.blobs[i] -= self.history[i]


def images(steps: int, iter_size: int) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    rng = np.random.default_rng(0)
    one = lambda: (rng.normal(size=(4, PIXELS)), rng.integers(0, CLASSES, PIXELS))  # noqa: E731
    return [[one() for _ in range(iter_size)] for _ in range(steps)]


def both(regime: str) -> tuple[nn.Sequential, torch.optim.SGD, CaffeSolver]:
    """A net with the regime's groups and optimiser, and Caffe's solver on the same weights."""
    net = nn.Sequential(nn.Conv2d(4, 5, 1), nn.ReLU(), nn.Conv2d(5, CLASSES, 1)).double()
    multipliers = compose_run([f"regime={regime}"]).regime.multipliers
    groups = parameter_groups(
        net,
        scores=[net[2]],
        new=[],
        lr=LR,
        weight_decay=DECAY,
        multipliers=multipliers,
        new_lr=1,
    )
    blobs = [
        p.detach().flatten(1).numpy() if p.ndim > 1 else p.detach().numpy()
        for p in net.parameters()
    ]
    solver = CaffeSolver(blobs, MULTIPLIERS[regime])
    return net, torch.optim.SGD(groups, momentum=MOMENTUM), solver


def our_step(net: nn.Sequential, sgd: torch.optim.SGD, batch: list) -> None:
    sgd.zero_grad()
    loss = PixelLoss(reduction="sum", keep=1, cell=1, balance=None)
    for x, label in batch:
        scores = net(torch.from_numpy(x).view(1, 4, 5, 7))
        target = torch.from_numpy(label.astype(np.uint8)).view(1, 5, 7)
        (loss(scores, target) / len(batch)).backward()
    sgd.step()


def largest_difference(net: nn.Sequential, solver: CaffeSolver) -> float:
    pairs = zip(net.parameters(), solver.blobs, strict=True)
    return max(np.abs(p.detach().numpy().ravel() - blob.ravel()).max() for p, blob in pairs)


@pytest.mark.parametrize("regime", ["heavy", "accum", "d2l"])
@pytest.mark.parametrize("iter_size", [1, 4])
def test_ten_steps_equal_caffes(regime, iter_size):
    net, sgd, solver = both(regime)
    for batch in images(10, iter_size):
        our_step(net, sgd, batch)
        solver.step(batch, LR)
        assert largest_difference(net, solver) < 1e-10


def test_after_a_change_of_rate_caffes_velocity_keeps_the_old_one():
    """As documented: torch multiplies its velocity by the new rate, Caffe's includes the old one.

    So the first step after a change differs by momentum * (old - new) * torch's velocity, and the
    difference decays with the momentum. The release's rates never change.
    """
    net, sgd, solver = both("heavy")
    *before, last = images(6, 1)
    for batch in before:
        our_step(net, sgd, batch)
        solver.step(batch, LR)
    velocity = [sgd.state[p]["momentum_buffer"].clone() for p in net.parameters()]
    rates = [
        next(g["lr"] for g in sgd.param_groups if any(q is p for q in g["params"]))
        for p in net.parameters()
    ]
    for group in sgd.param_groups:
        group["lr"] /= 10
    our_step(net, sgd, last)
    solver.step(last, LR / 10)
    for p, blob, v, rate in zip(net.parameters(), solver.blobs, velocity, rates, strict=True):
        gap = p.detach().numpy().ravel() - blob.ravel()
        np.testing.assert_allclose(
            gap, MOMENTUM * (rate - rate / 10) * v.numpy().ravel(), atol=1e-12
        )
    assert largest_difference(net, solver) > 1e-4
