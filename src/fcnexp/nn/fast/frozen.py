"""Whether layers still have the weights that something was computed from."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_PROBES = 64  # of a layer's weights


class Snapshot:
    """What tells that convolutions have been changed since it was taken.

    By where their weights lie and torch's count of changes; and, since `weight.data.mul_(2)` is in
    no count, by the biases and some of the weights.
    """

    def __init__(self, layers: Sequence[nn.Conv2d]) -> None:
        self.states = [_state(layer) for layer in layers]  # and no layer, lest it lives for ever
        self.probes = [_probes(layer) for layer in layers]

    def holds(self, layers: Sequence[nn.Conv2d]) -> bool:
        """Whether the weights are those of the time when this was taken."""
        return all(
            state == _state(layer) and torch.equal(probes, _probes(layer))
            for layer, state, probes in zip(layers, self.states, self.probes, strict=True)
        )


def learns(layer: nn.Conv2d) -> bool:
    """Whether what is computed now from a layer must lead gradients back to it."""
    return torch.is_grad_enabled() and any(p.requires_grad for p in layer.parameters())


def _state(layer: nn.Conv2d) -> list[tuple[int, int]]:
    return [
        (tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version)
        for tensor in layer.parameters()
    ]


def _probes(layer: nn.Conv2d) -> Tensor:
    flat = layer.weight.detach().permute(0, 2, 3, 1).flatten()  # a view where channels come last
    some = flat[:: max(1, len(flat) // _PROBES)]
    return some.clone() if layer.bias is None else torch.cat([some, layer.bias.detach()])
