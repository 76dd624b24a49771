"""A loss that waits for a signal in a training, for tests: set by `regime.loss._target_`.

Environment: WAIT_FOLDER for the file that announces the wait, WAIT_SEED of the run that waits,
WAIT_STEP, the training forward pass in which it waits. After one signal it never waits again.
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
    """`PixelLoss`, with the same values."""

    def __init__(self, *, seed: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.seed, self.passes = seed, 0

    def forward(self, scores: Tensor, label: Tensor) -> Tensor:
        """Wait for a signal in the chosen step."""
        self.passes += self.training
        here = {"WAIT_SEED": str(self.seed), "WAIT_STEP": str(self.passes)}
        if self.training and here.items() <= os.environ.items():
            wait_once(Path(os.environ["WAIT_FOLDER"]))
        return super().forward(scores, label)


def wait_once(folder: Path) -> None:
    """Wait for a signal, pass it to the installed handlers, and record it in a file."""
    if (folder / "signalled").exists():
        return
    seen: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def forward(number: int, frame: Any) -> None:
        seen.append(number)
        before[signal.Signals(number)](number, frame)  # type: ignore[operator]

    for number in SIGNALS:
        signal.signal(number, forward)
    (folder / "waiting").write_text(str(os.getpid()))
    while not seen:
        time.sleep(0.01)
    for number in SIGNALS:
        signal.signal(number, before[number])
    (folder / "signalled").write_text(" ".join(signal.Signals(n).name for n in seen))
