"""The same bits each time on a GPU, too, and the names of operations that will not have it."""

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
def deterministic(wanted: bool) -> Iterator[list[str]]:
    """Within it torch takes deterministic ways where it has them; gives a list of where it has not.

    Each name is added, and told, when such an operation is met for the first time. On a CPU all is
    deterministic but for a few operations that no net here uses. Without `wanted` nothing changes.
    """
    found: list[str] = []
    if not wanted:
        yield found
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when it is first used
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False  # another algorithm each time it is timed
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("always", message=_WARNING.pattern)
            show = warnings.showwarning

            def listen(message: Warning | str, *rest: Any) -> None:
                told = _WARNING.match(str(message))
                if told is None:
                    show(message, *rest)
                elif told[1] not in found:
                    found.append(told[1])
                    log.warning("%s is not deterministic here: numbers may differ", told[1])

            warnings.showwarning = listen  # type: ignore[assignment]  # takes all of its arguments
            yield found
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=True)
        torch.backends.cudnn.benchmark = before[1]
