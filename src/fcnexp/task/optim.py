"""Parameter groups and learning-rate schedules."""

import math
from collections.abc import Iterable

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def parameter_groups(
    net: nn.Module,
    new: Iterable[nn.Module],
    *,
    lr: float,
    weight_decay: float,
    bias_lr: float,
    new_lr: float,
) -> list[dict[str, object]]:
    """Groups for an optimiser: weights and biases, of transplanted and of new layers.

    Biases learn `bias_lr` times as fast and do not decay, as in the reference nets (2x); layers in
    `new` learn `new_lr` times as fast. Scale and shift of normalisations do not decay and follow
    the plain rate. Every trainable parameter is in exactly one group; empty groups are left out.
    """
    fresh = {id(p) for layer in new for p in layer.parameters()}
    norms = {id(p) for m in net.modules() if isinstance(m, NORMS) for p in m.parameters()}
    kinds: dict[tuple[bool, str], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        kind = "norm" if id(parameter) in norms else name.rsplit(".", 1)[-1]
        kinds.setdefault((id(parameter) in fresh, kind), []).append(parameter)
    groups: list[dict[str, object]] = []
    for (is_new, kind), parameters in kinds.items():
        rate = lr * (new_lr if is_new else 1) * (bias_lr if kind == "bias" else 1)
        groups.append(
            {
                "name": f"{'new ' if is_new else ''}{kind}",
                "params": parameters,
                "lr": rate,
                "weight_decay": weight_decay if kind == "weight" else 0.0,
            }
        )
    return groups


def constant(optimizer: Optimizer, steps: int) -> LambdaLR:
    """The same rate throughout, as in the papers. `steps` is not used."""
    return LambdaLR(optimizer, lambda step: 1.0)


def polynomial(optimizer: Optimizer, steps: int, *, power: float, warmup: int) -> LambdaLR:
    """Rate falls as `(1 - step / steps) ** power`, after a linear rise over `warmup` steps."""

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / (warmup + 1)) * max(0.0, 1 - step / steps) ** power

    return LambdaLR(optimizer, factor)


def one_cycle(optimizer: Optimizer, steps: int, *, rise: float) -> LambdaLR:
    """Half a cosine up over the first `rise` share of the steps, half a cosine down to 0 after.

    Raises ValueError where rise is not in [0, 1).
    """
    if not 0 <= rise < 1:
        raise ValueError(f"schedule.rise={rise}: a share of the steps, 0 or more and below 1")

    def factor(step: int) -> float:
        peak = rise * steps
        if step < peak:
            return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * step / peak))  # Smith's start: 1/25
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - peak) / (steps - peak))))

    return LambdaLR(optimizer, factor)
