"""Recomputed blocks give the same gradients as blocks that store their maps."""

import copy

import pytest
import torch
from torch import nn

from fcnexp import build
from fcnexp.config.checks import check
from fcnexp.config.compose import compose_run
from fcnexp.nn.fast.recompute import recompute_blocks
from fcnexp.nn.fast.switches import disabled, plain

NETS = {
    "tiny": ["backbone=tiny"],
    "googlenet": ["backbone=googlenet", "head.dropout=0.4"],
    "vgg16": ["backbone=vgg16", "head=fc", "head.channels=32", "head.dropout=0.5"],
    "vgg16_bn": ["backbone=vgg16_bn", "head=linear"],
    "resnet18": ["backbone=resnet18"],
    "alexnet": ["backbone=alexnet", "head.channels=32", "head.dropout=0.5"],
}


def twins(name: str) -> tuple[nn.Module, nn.Module]:
    cfg = check(compose_run([*NETS[name], "model=fcn32s"]))
    net, _ = build.build_net(cfg, {"class": 4})
    for layer in net.score_layers():
        nn.init.normal_(layer.weight)
    net.double().train()
    return net, copy.deepcopy(net)


@pytest.mark.parametrize("name", NETS)
def test_gradients_and_statistics_are_equal_bit_for_bit(name):
    net, lean = twins(name)
    names = list(lean.state_dict())
    assert recompute_blocks(lean) >= 1 and list(lean.state_dict()) == names
    image = torch.randn(2, 3, 70, 65, dtype=torch.float64)
    for each in (net, lean):
        torch.manual_seed(1)
        each({"rgb": image}).square().mean().backward()
        torch.rand(1)
    for one, other in zip(net.parameters(), lean.parameters(), strict=True):
        assert (one.grad is None and other.grad is None) or torch.equal(one.grad, other.grad)
    for one, other in zip(net.buffers(), lean.buffers(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("name", "fraction"), [("tiny", 0.6), ("googlenet", 0.85), ("vgg16", 0.6)])
def test_less_is_stored_for_the_backward_pass(name, fraction):
    kept = []
    for net in twins(name):
        if kept:
            recompute_blocks(net)
        seen: dict[int, int] = {}

        def pack(x: torch.Tensor, seen: dict[int, int] = seen) -> torch.Tensor:
            seen[x.data_ptr()] = x.numel() * x.element_size()
            return x

        weights = {p.data_ptr() for p in net.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            scores = net({"rgb": torch.randn(1, 3, 200, 200, dtype=torch.float64)})
        kept.append(sum(size for place, size in seen.items() if place not in weights))
        del scores
    assert kept[1] < fraction * kept[0]


def test_scores_in_eval_mode_are_unchanged():
    net, lean = twins("tiny")
    recompute_blocks(lean)
    image = {"rgb": torch.randn(1, 3, 40, 40, dtype=torch.float64)}
    assert torch.equal(net.eval()(image), lean.eval()(image))


def test_a_deep_copy_runs_its_own_weights():
    net, lean = twins("tiny")
    recompute_blocks(lean)
    twin = copy.deepcopy(lean)
    image = {"rgb": torch.randn(1, 3, 40, 40, dtype=torch.float64)}
    with torch.no_grad():
        for each in (net, twin):
            for weight in each.parameters():
                weight.mul_(1.1)
        assert torch.equal(net.eval()(image), twin.eval()(image))
        assert not torch.equal(lean.eval()(image), twin(image))


def test_a_block_runs_again_with_the_same_fast_paths_disabled():
    seen = []

    class Seeing(nn.Identity):
        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            seen.append(disabled())
            return maps.sin()

    net = nn.Sequential(Seeing()).train()
    assert recompute_blocks(nn.ModuleList([net])) == 1
    with plain(["norm"]):
        loss = net(torch.ones(2, requires_grad=True)).sum()
    loss.backward()  # outside the context, like autograd's own thread for a GPU
    assert seen == [{"norm"}, {"norm"}]
