"""A loss that stops in the middle of a training, for tests: named by `regime.loss._target_`.

Environment: WAIT_FOLDER is where it says that it waits, WAIT_SEED the run that does, WAIT_STEP in
which forward pass of training. The run goes on once it has had a signal, and waits no more then.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from fcnexp.task.losses import PixelLoss

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)


class WaitingLoss(PixelLoss):
    """Pixel loss; the numbers are those of `PixelLoss`."""

    def __init__(self, *, seed: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.seed, self.passes = seed, 0

    def forward(self, scores: Tensor, label: Tensor) -> Tensor:
        """Wait, in the step that it is to be, for a signal."""
        self.passes += self.training
        here = {"WAIT_SEED": str(self.seed), "WAIT_STEP": str(self.passes)}
        if self.training and here.items() <= os.environ.items():
            wait_once(Path(os.environ["WAIT_FOLDER"]))
        return super().forward(scores, label)


def wait_once(folder: Path) -> None:
    """Wait for a signal, let the handlers that are there have it, and leave a note of it."""
    if (folder / "signalled").exists():
        return
    seen: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def hear(number: int, frame: Any) -> None:
        seen.append(number)
        before[signal.Signals(number)](number, frame)  # type: ignore[operator]

    for number in SIGNALS:
        signal.signal(number, hear)
    (folder / "waiting").write_text(str(os.getpid()))
    while not seen:
        time.sleep(0.01)
    for number in SIGNALS:
        signal.signal(number, before[number])
    (folder / "signalled").write_text(" ".join(signal.Signals(n).name for n in seen))
