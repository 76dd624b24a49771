"""Conditions for a layer's fast path: no hooks to run, no gradients lost, no stale weights."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

_MOST = 4096  # weights summed per filter: almost all of a 3x3 filter, a sixth of fc6's


def is_hooked(module: nn.Module) -> bool:
    """Return True if a module has hooks, global ones included, or a replaced `forward`.

    A fast path computes without calling the module, so it would skip all of these.
    """
    own = module._forward_hooks or module._forward_pre_hooks
    own = own or module._backward_hooks or module._backward_pre_hooks
    return bool(own) or "forward" in vars(module) or _has_any_global_hook()


def learns(layer: nn.Conv2d) -> bool:
    """Return True if the current computation must be differentiable in a layer's parameters."""
    return torch.is_grad_enabled() and any(p.requires_grad for p in layer.parameters())


class Snapshot:
    """Fingerprint of convolutions' weights, to detect later changes.

    It holds the weights' addresses and torch's version counters. The counters miss
    `weight.data.mul_(2)` or the step of a fused optimiser, so it also holds the biases and a sum
    over each filter (over the beginning of a very long one).
    """

    def __init__(self, layers: Sequence[nn.Conv2d]) -> None:
        self.states = [_state(layer) for layer in layers]  # not the layers: they could not be freed
        self.sums = [_sums(layer) for layer in layers]

    def holds(self, layers: Sequence[nn.Conv2d]) -> bool:
        """Return True if the weights are unchanged since this snapshot."""
        return all(
            state == _state(layer) and torch.equal(sums, _sums(layer))
            for layer, state, sums in zip(layers, self.states, self.sums, strict=True)
        )


def _state(layer: nn.Conv2d) -> list[tuple[torch.dtype, int, int]]:
    return [
        (tensor.dtype, tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version)
        for tensor in layer.parameters()
    ]


def _sums(layer: nn.Conv2d) -> Tensor:
    """Return a sum per filter of its first weights, each with its own factor, and the biases."""
    weight = layer.weight.detach()
    if not weight.is_contiguous():
        weight = weight.permute(0, 2, 3, 1)  # makes `flatten` a view for channels-last weights
    flat = weight.flatten(1)[:, :_MOST]
    with torch.autocast(flat.device.type, enabled=False):
        sums = torch.mv(flat, _factors(flat.shape[1], flat.dtype, flat.device))
    return sums if layer.bias is None else torch.cat([sums, layer.bias.detach()])


@cache
def _factors(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return distinct numbers in [1, 2) in irregular order, by which permutations change a sum."""
    with torch.inference_mode(False):  # the cache is also used in training
        return (1 + torch.arange(count, device=device) * 0.618034 % 1).to(dtype)
