"""Whether layers still have the weights that something was computed from."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn

_MOST = 4096  # weights of a filter that are summed: nearly all of a 3x3 one's, a sixth of fc6's


class Snapshot:
    """What tells that convolutions have been changed since it was taken.

    By where their weights lie and torch's count of changes; and, since `weight.data.mul_(2)` and
    the step of a fused optimiser are in no count, by the biases and a sum over each filter, or over
    the beginning of a very long one.
    """

    def __init__(self, layers: Sequence[nn.Conv2d]) -> None:
        self.states = [_state(layer) for layer in layers]  # and no layer, lest it lives for ever
        self.sums = [_sums(layer) for layer in layers]

    def holds(self, layers: Sequence[nn.Conv2d]) -> bool:
        """Whether the weights are those of the time when this was taken."""
        return all(
            state == _state(layer) and torch.equal(sums, _sums(layer))
            for layer, state, sums in zip(layers, self.states, self.sums, strict=True)
        )


def learns(layer: nn.Conv2d) -> bool:
    """Whether what is computed now from a layer must lead gradients back to it."""
    return torch.is_grad_enabled() and any(p.requires_grad for p in layer.parameters())


def _state(layer: nn.Conv2d) -> list[tuple[torch.dtype, int, int]]:
    return [
        (tensor.dtype, tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version)
        for tensor in layer.parameters()
    ]


def _sums(layer: nn.Conv2d) -> Tensor:
    """Of each filter's first weights, each with a factor of its own, (O,), and the biases."""
    weight = layer.weight.detach()
    if not weight.is_contiguous():
        weight = weight.permute(0, 2, 3, 1)  # then flat is a view where channels come last
    flat = weight.flatten(1)[:, :_MOST]
    with torch.autocast(flat.device.type, enabled=False):
        sums = torch.mv(flat, _factors(flat.shape[1], flat.dtype, flat.device))
    return sums if layer.bias is None else torch.cat([sums, layer.bias.detach()])


@cache
def _factors(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers in (1, 2), in no order."""
    with torch.inference_mode(False):  # they are kept for trainings, too
        return (1 + torch.arange(count, device=device) * 0.618034 % 1).to(dtype)
