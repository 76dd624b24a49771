"""How much there is to compute, and how fast this machine convolves at best."""

import time
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from fcnexp.benching.nets import STRIDES
from fcnexp.benching.textbook import Textbook

# Channels in and out, side, of 3x3 convolutions as VGG16 has them on a 700x700 image.
SHAPES = ((64, 64, 700), (128, 128, 350), (256, 256, 175), (512, 512, 88))
RUNS = 4


@lru_cache(64)
def textbook_flop(
    model: str, channels: int, size: tuple[int, int], *, training: bool = False
) -> int:
    """Two for each multiplication and addition of the textbook net, from its layers' shapes.

    training: with what the gradients of all weights take.
    """
    with torch.device("meta"):
        net = Textbook(STRIDES[model], 21, channels)
        image = torch.zeros(1, 3, *size)
    with FlopCounterMode(display=False) as counter:
        scores = net(image)
        if training:
            scores.sum().backward()
    return int(counter.get_total_flops())


@torch.inference_mode()
def convolution_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating point operations a second of the fastest of some large convolutions."""
    best = 0.0
    for inputs, outputs, side in SHAPES:
        maps, kernel = (
            torch.randn(size, device=device, dtype=dtype).contiguous(
                memory_format=torch.channels_last
            )
            for size in ((1, inputs, side, side), (outputs, inputs, 3, 3))
        )
        flop = 2 * 9 * inputs * outputs * side**2
        for _ in range(RUNS):
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            start = time.perf_counter()
            F.conv2d(maps, kernel, padding=1)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best = max(best, flop / (time.perf_counter() - start))
    return best
