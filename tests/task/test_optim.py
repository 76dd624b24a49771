import pytest
import torch
from torch import nn

from fcnexp.task.optim import constant, one_cycle, parameter_groups, polynomial, step


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


RELEASE = {
    **{"weight": (1, 1), "bias": (2, 0), "score_weight": (1, 1), "score_bias": (2, 0)},
    "norm": (1, 0),
}


def test_groups_follow_the_release():
    trunk = net()
    groups = parameter_groups(
        trunk,
        scores=[trunk[2]],
        new=trunk[2].parameters(),
        lr=0.1,
        weight_decay=0.5,
        multipliers=RELEASE | {"bias": (1, 1)},  # voc-fcn-alexnet: its trunk's biases
        new_lr=10,
    )
    table = {g["name"]: (len(g["params"]), g["lr"], g["weight_decay"]) for g in groups}
    assert table == {
        "weight": (1, 0.1, 0.5),
        "bias": (1, 0.1, 0.5),
        "norm": (2, 0.1, 0.0),
        "new score weight": (1, 1.0, 0.5),
        "new score bias": (1, 2.0, 0.0),
    }


def test_frozen_parameters_are_in_no_group():
    trunk = net()
    trunk[0].requires_grad_(False)
    groups = parameter_groups(
        trunk, scores=[], new=[], lr=1, weight_decay=0, multipliers=RELEASE, new_lr=1
    )
    grouped = {id(p) for group in groups for p in group["params"]}
    assert grouped == {id(p) for part in trunk[1:] for p in part.parameters()}


def rates(schedule, steps: int, **numbers) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = schedule(optimizer, steps, **numbers)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_constant_rate_is_constant():
    assert rates(constant, 5) == [1.0] * 5


def test_step_multiplies_the_rate_by_gamma():
    assert rates(step, 7, every=3, gamma=0.1) == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("numbers", [{"every": 0, "gamma": 0.1}, {"every": 5, "gamma": 0}])
def test_step_without_steps_or_factor_is_refused(numbers):
    with pytest.raises(ValueError, match=r"schedule.every=.*schedule.gamma=.*must be 1 or more"):
        rates(step, 7, **numbers)


def test_polynomial_by_hand():
    assert rates(polynomial, 4, power=1, warmup=0) == pytest.approx([1, 0.75, 0.5, 0.25])
    assert rates(polynomial, 4, power=1, warmup=1) == pytest.approx([0.5, 0.75, 0.5, 0.25])


def test_one_cycle_rises_to_the_rate_and_falls_to_zero():
    seen = rates(one_cycle, 100, rise=0.2)
    assert seen[0] == pytest.approx(0.04) and max(seen) == seen[20] == pytest.approx(1.0)
    assert seen[60] == pytest.approx(0.5) and seen[99] < 0.001
