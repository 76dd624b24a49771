"""Parameter groups and learning-rate schedules."""

import math
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)
KINDS = ("weight", "bias", "score_weight", "score_bias", "norm")  # each has its own multipliers


def parameter_groups(
    net: nn.Module,
    *,
    scores: Iterable[nn.Module],
    new: Iterable[Tensor],
    lr: float,
    weight_decay: float,
    multipliers: Mapping[str, Sequence[float]],
    new_lr: float,
) -> list[dict[str, object]]:
    """Return an optimiser's parameter groups, with Caffe's multipliers of rate and decay.

    multipliers: the pair lr_mult, decay_mult by kind (`KINDS`); the release has (1, 1) for weights
    and (2, 0) for biases. scores: layers that score classes; their weights and biases are separate
    kinds. new: parameters that were not in the weights file; their rate is `new_lr` times as high.
    Every trainable parameter is in exactly one group; empty groups are left out.
    """
    fresh = {id(tensor) for tensor in new}
    scoring = {id(p) for layer in scores for p in layer.parameters()}
    norms = {id(p) for m in net.modules() if isinstance(m, NORMS) for p in m.parameters()}
    kinds: dict[tuple[bool, str], list[nn.Parameter]] = {}
    for parameter in net.parameters():
        if not parameter.requires_grad:
            continue
        kind = "bias" if parameter.ndim == 1 else "weight"
        if id(parameter) in norms:
            kind = "norm"
        elif id(parameter) in scoring:
            kind = f"score_{kind}"
        kinds.setdefault((id(parameter) in fresh, kind), []).append(parameter)
    groups: list[dict[str, object]] = []
    for (is_new, kind), parameters in kinds.items():
        rate, decay = multipliers[kind]
        groups.append(
            {
                "name": f"{'new ' if is_new else ''}{kind.replace('_', ' ')}",
                "params": parameters,
                "lr": lr * rate * (new_lr if is_new else 1),
                "weight_decay": weight_decay * decay,
            }
        )
    return groups


def constant(optimizer: Optimizer, steps: int) -> LambdaLR:
    """Return a schedule with a constant rate, as in the papers. `steps` is not used."""
    return LambdaLR(optimizer, lambda step: 1.0)


def step(optimizer: Optimizer, steps: int, *, every: int, gamma: float) -> LambdaLR:
    """Return a schedule that multiplies the rate by `gamma` every `every` steps, as Caffe's `step`.

    `steps` is not used. Raises ValueError if every is below 1 or gamma is not above 0.
    """
    if every < 1 or gamma <= 0:
        raise ValueError(
            f"schedule.every={every}, schedule.gamma={gamma}: must be 1 or more, and above 0"
        )
    return LambdaLR(optimizer, lambda done: gamma ** (done // every))


def polynomial(optimizer: Optimizer, steps: int, *, power: float, warmup: int) -> LambdaLR:
    """Return a schedule `(1 - step / steps) ** power`, with a linear warm-up of `warmup` steps."""

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / (warmup + 1)) * max(0.0, 1 - step / steps) ** power

    return LambdaLR(optimizer, factor)


def one_cycle(optimizer: Optimizer, steps: int, *, rise: float) -> LambdaLR:
    """Return a schedule that rises and falls as a half cosine each, ending at 0.

    rise: fraction of the steps in which the rate rises. Raises ValueError if it is not in [0, 1).
    """
    if not 0 <= rise < 1:
        raise ValueError(f"schedule.rise={rise}: must be a fraction of the steps, in [0, 1)")

    def factor(step: int) -> float:
        peak = rise * steps
        if step < peak:
            return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * step / peak))  # Smith's start: 1/25
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - peak) / (steps - peak))))

    return LambdaLR(optimizer, factor)
