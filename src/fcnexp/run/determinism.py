"""Deterministic algorithms, and the names of operations that have none."""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

log = logging.getLogger(__name__)

_WARNING = re.compile(r"(\S+) does not have a deterministic implementation")


@contextmanager
def deterministic(enabled: bool) -> Iterator[list[str]]:
    """Make torch use deterministic algorithms; yields the operations that have none.

    Each of these is added to the list, and logged, when it first runs. On a CPU every operation of
    our nets is deterministic. Changes nothing if not enabled.
    """
    found: list[str] = []
    if not enabled:
        yield found
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False  # its timings may choose another algorithm in each run
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("always", message=_WARNING.pattern)
            show = warnings.showwarning

            def record(message: Warning | str, *rest: Any) -> None:
                match = _WARNING.match(str(message))
                if match is None:
                    show(message, *rest)
                elif match[1] not in found:
                    found.append(match[1])
                    log.warning("%s is not deterministic here: numbers may differ", match[1])

            warnings.showwarning = record  # type: ignore[assignment]  # takes all of its arguments
            yield found
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=True)
        torch.backends.cudnn.benchmark = before[1]
