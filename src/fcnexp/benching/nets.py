"""Nets that are measured against each other, with the same weights."""

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
PIXEL = 60.0  # typical standard deviation of a photograph's values


@dataclass(frozen=True)
class Candidate:
    """One row of a table.

    around: makes the context that a pass runs in. approximate: computes in bfloat16. other: a
    different net with different weights. channels_last: memory format of its images.
    """

    name: str
    net: nn.Module
    score: Callable[[Tensor], Tensor]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    approximate: bool = False
    other: bool = False
    channels_last: bool = False

    def place(self, image: Tensor) -> Tensor:
        """Return an image (N, 3, H, W) in the memory format that this net's users use."""
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        return image.contiguous(memory_format=order)


def names(channels: int) -> list[str]:
    """Names of all candidates available on this machine, in the order of measuring."""
    installed = [PEER] if channels == 4096 and peer.torchfcn() is not None else []
    exact = [*installed, TEXTBOOK, PLAIN, OURS]
    return [*exact, f"{TEXTBOOK}, {APPROXIMATE}", f"{OURS}, {APPROXIMATE}", OTHER]


def build(kind: str, model: str, channels: int) -> nn.Module:
    """Build the net of a kind of candidate, on the CPU, in eval mode, with weights by `fill`.

    channels: outputs of fc6 and fc7, always 4096 in torchfcn. Raises ConfigError.
    """
    net: nn.Module
    if kind == OTHER:
        from torchvision.models.segmentation import fcn_resnet50

        return fcn_resnet50(weights=None, weights_backbone=None, num_classes=21).eval()
    if kind == OURS:
        from fcnexp.build import network

        net = network([f"experiment=voc_{model}", "init=scratch", f"head.channels={channels}"])
    elif kind == PEER:
        net = peer.net(STRIDES[model])
    else:
        net = Textbook(STRIDES[model], 21, channels)
    fill(layers(net))
    return net.eval()


def layers(net: Any) -> dict[str, nn.Module]:
    """Layers of our net, or of a port, by their original names."""
    if hasattr(net, "scorers"):
        return next(iter(net.scorers().values())).layers()
    return {name: m for name, m in net.named_children() if isinstance(m, nn.Conv2d)}


@torch.no_grad()
def fill(layers: dict[str, nn.Module]) -> None:
    """Set random weights by He's rule, so that activations, scores and gradients do not vanish.

    The seed is the layer's name, so that all nets of the same depth get the same weights. Biases
    are not zero, so that the border of the padded image is not zero either.
    """
    for name, layer in layers.items():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        weight: Tensor = layer.weight  # type: ignore[assignment]  # a convolution
        bias: Tensor = layer.bias  # type: ignore[assignment]  # which has one
        spread = sqrt((1 if name.startswith("score") else 2) / weight[0].numel())
        spread /= PIXEL if name == "conv1_1" else 1
        for rows in weight.split(256):  # all rows together would double fc6's memory
            # Draw contiguous values, so that they do not depend on the weights' memory format.
            rows.copy_(spread * torch.randn(rows.shape, generator=generator))
        bias.normal_(0, 0.1, generator=generator)


def candidate(name: str, net: nn.Module, device: torch.device) -> Candidate:
    """Return the candidate of that name, set up as its users do: our net in channels_last."""
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
    """Return a function from an image to scores, for any kind of net."""
    if kind == OURS:
        return lambda image: net({"rgb": image})
    return (lambda image: net(image)["out"]) if kind == OTHER else net


def candidates(
    wanted: Sequence[str], model: str, channels: int, device: torch.device
) -> list[Candidate]:
    """Return several candidates with equal weights, each with a separate net.

    Our net caches its prepared weights for one precision only: candidates in turn on a shared net
    would prepare them again in each round. The plain one prepares nothing, and shares ours.
    """
    nets = {
        name: build(name.partition(", ")[0], model, channels) for name in wanted if name != PLAIN
    }
    if PLAIN in wanted:
        nets[PLAIN] = nets.get(OURS) or build(OURS, model, channels)
    return [candidate(name, nets[name], device) for name in wanted]


def image(size: Sequence[int], seed: int = 0) -> Tensor:
    """Random image in network space, (1, 3, H, W): blobs and noise, BGR minus mean, about ±128."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 6, generator=generator)
    blobs = nn.functional.interpolate(coarse, tuple(size), mode="bicubic").clamp(0, 1)
    return (256 * blobs - 128) + 10 * torch.randn(1, 3, *size, generator=generator)


def passes(one: Candidate, sizes: Sequence[Sequence[int]]) -> Callable[[], None]:
    """Return a function that scores one image of each size, as a user of the candidate would."""
    device = next(one.net.parameters()).device
    images = [one.place(image(size, seed).to(device)) for seed, size in enumerate(sizes)]

    def run() -> None:
        with torch.inference_mode(), one.around():
            for each in images:
                one.score(each)

    return run
