"""The number format of a run, chosen for its device."""

import logging
from functools import cache
from typing import Any

import torch

from fcnexp.config.checks import FLOAT16, SHORT, refuse_float16

log = logging.getLogger(__name__)

FACTOR = 2.0**16  # on a loss averaged over pixels, at first: torch's own choice
# On a loss summed over pixels, of which an image has 1e4 to 1e5: gradients are that much larger.
FACTOR_ON_A_SUM = 1.0


def precision_of(choice: Any, on_gpu: bool) -> str:
    """Lightning's name of the precision that `trainer` asks for. Raises ConfigError.

    `auto` is bfloat16 if the device multiplies it; else float16 on a GPU, and float32 on a CPU.
    """
    asked = SHORT.get(choice.precision, choice.precision)
    if asked == FLOAT16 and not on_gpu:
        refuse_float16(choice.precision, "torch finds none")
    if asked == "bf16-mixed" and on_gpu and not multiplies_bfloat16(on_gpu):
        _warn_of_emulation(choice.precision)
    if asked != "auto":
        return asked
    if multiplies_bfloat16(on_gpu):
        return "bf16-mixed"
    return FLOAT16 if on_gpu else "32-true"


def precision_to_score_in(choice: Any, trained_in: str, on_gpu: bool) -> str:
    """Precision in which to score a checkpoint; `auto` is that of its training if possible.

    Without a GPU, a net trained in float16 is scored in float32. Raises ConfigError.
    """
    if choice.precision != "auto":
        return precision_of(choice, on_gpu)
    if trained_in == FLOAT16 and not on_gpu:
        log.info("scores in 32-true: trained in float16 (%s), which needs a CUDA GPU", FLOAT16)
        return "32-true"
    return trained_in


def first_factor(reduction: str | None) -> float:
    """Factor on the loss with which a training in float16 starts.

    From there it is halved whenever a gradient overflows, without a lower limit, so that any
    factor is safe; a suitable one saves skipped steps. A power of two changes no digits: a sum
    scaled by 2^-k is as exact as the mean.
    """
    return FACTOR_ON_A_SUM if reduction == "sum" else FACTOR


@cache
def _warn_of_emulation(given: str) -> None:
    log.warning(
        "trainer.precision=%s: this GPU has no bfloat16 instructions and emulates them, which is "
        "slow; trainer.precision=fp16 suits it",
        given,
    )


def multiplies_bfloat16(on_gpu: bool) -> bool:
    """Return True if the device has bfloat16 instructions; emulating them is slow."""
    if on_gpu:
        return torch.cuda.get_device_capability() >= (8, 0)
    capability = torch.backends.cpu.get_cpu_capability()
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)  # private: may go away
    return capability == "AVX512" and bool(has())
