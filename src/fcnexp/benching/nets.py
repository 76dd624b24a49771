"""The nets that are measured side by side, on the same weights."""

import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from fcnexp.benching import peer
from fcnexp.benching.textbook import Textbook
from fcnexp.nn.fast.switches import plain

TEXTBOOK, OURS, OTHER = "textbook", "fcnexp", "torchvision fcn_resnet50"
PEER = peer.NAME
APPROXIMATE = "bf16, approximate"
PLAIN = f"{OURS}, plain"
STRIDES = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8}
PIXEL = 60.0  # about the spread of a photograph's values once the mean is gone


@dataclass(frozen=True)
class Candidate:
    """One row of a table. around: what its passes run in, made anew for each.

    approximate: it computes in bfloat16. other: it is another net, with weights of its own.
    """

    name: str
    net: nn.Module
    score: Callable[[Tensor], Tensor]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    approximate: bool = False
    other: bool = False
    channels_last: bool = False

    def place(self, image: Tensor) -> Tensor:
        """An image (N, 3, H, W) in the order in which this net's users have it in memory."""
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        return image.contiguous(memory_format=order)


def names(channels: int) -> list[str]:
    """All candidates that there can be here, in the order in which they are measured."""
    installed = [PEER] if channels == 4096 and peer.torchfcn() is not None else []
    exact = [*installed, TEXTBOOK, PLAIN, OURS]
    return [*exact, f"{TEXTBOOK}, {APPROXIMATE}", f"{OURS}, {APPROXIMATE}", OTHER]


def build(kind: str, model: str, channels: int) -> nn.Module:
    """The net of one kind of candidate, on the CPU, in eval mode, with weights by `fill`.

    channels: outputs of fc6 and fc7, which the peer has 4096 of. Raises ConfigError.
    """
    net: nn.Module
    if kind == OTHER:
        from torchvision.models.segmentation import fcn_resnet50

        return fcn_resnet50(weights=None, weights_backbone=None, num_classes=21).eval()
    if kind == OURS:
        from fcnexp.build import network

        asked = [f"experiment=voc_{model}", "init=scratch", f"head.channels={channels}"]
        net = network(asked)
    elif kind == PEER:
        net = peer.net(STRIDES[model])
    else:
        net = Textbook(STRIDES[model], 21, channels)
    fill(layers(net))
    return net.eval()


def layers(net: Any) -> dict[str, nn.Module]:
    """Layers of a net of ours, or of a port, by their original names."""
    if hasattr(net, "scorers"):
        return next(iter(net.scorers().values())).layers()
    return {name: m for name, m in net.named_children() if isinstance(m, nn.Conv2d)}


@torch.no_grad()
def fill(layers: dict[str, nn.Module]) -> None:
    """Random weights by He's rule, so that neither signals nor gradients vanish, nor scores.

    They follow from the layer's name alone, so that all nets of one depth get the same. Biases are
    not zero: with them the border of the padded image is no zero either.
    """
    for name, layer in layers.items():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        weight: Tensor = layer.weight  # type: ignore[assignment]  # a convolution
        bias: Tensor = layer.bias  # type: ignore[assignment]  # which has one
        spread = sqrt((1 if name.startswith("score") else 2) / weight[0].numel())
        spread /= PIXEL if name == "conv1_1" else 1
        for rows in weight.split(256):  # at once they would take twice fc6's memory
            # Drawn in one order, whatever the weights' own order in memory is.
            rows.copy_(spread * torch.randn(rows.shape, generator=generator))
        bias.normal_(0, 0.1, generator=generator)


def candidate(name: str, net: nn.Module, device: torch.device) -> Candidate:
    """One candidate of that name, as its users have it: our net in channels_last."""
    kind, _, how = name.partition(", ")
    net.to(device)
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    if how == APPROXIMATE:
        around = partial(torch.autocast, device.type, torch.bfloat16)
    elif name == PLAIN:
        around = plain
    return Candidate(
        *(name, net, _scoring(net, kind), around, how == APPROXIMATE, kind == OTHER),
        channels_last=kind == OURS,
    )


def _scoring(net: nn.Module, kind: str) -> Callable[[Tensor], Tensor]:
    """From an image to scores, whatever a net takes and gives."""
    if kind == OURS:
        return lambda image: net({"rgb": image})
    return (lambda image: net(image)["out"]) if kind == OTHER else net


def candidates(
    wanted: Sequence[str], model: str, channels: int, device: torch.device
) -> list[Candidate]:
    """Several candidates on equal weights, each with a net of its own.

    Our net keeps what it prepared of its weights, for one precision: on one net candidates in turn
    would each begin anew. The plain one prepares nothing, and has ours.
    """
    nets = {
        name: build(name.partition(", ")[0], model, channels) for name in wanted if name != PLAIN
    }
    if PLAIN in wanted:
        nets[PLAIN] = nets.get(OURS) or build(OURS, model, channels)
    return [candidate(name, nets[name], device) for name in wanted]


def image(size: Sequence[int], seed: int = 0) -> Tensor:
    """A picture in network space, (1, 3, H, W): blobs and noise, BGR minus mean, about +-128."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 6, generator=generator)
    blobs = nn.functional.interpolate(coarse, tuple(size), mode="bicubic").clamp(0, 1)
    return (256 * blobs - 128) + 10 * torch.randn(1, 3, *size, generator=generator)


def passes(one: Candidate, sizes: Sequence[Sequence[int]]) -> Callable[[], None]:
    """A function that scores one image of each size, as a user of the candidate would."""
    device = next(one.net.parameters()).device
    images = [one.place(image(size, seed).to(device)) for seed, size in enumerate(sizes)]

    def run() -> None:
        with torch.inference_mode(), one.around():
            for each in images:
                one.score(each)

    return run
