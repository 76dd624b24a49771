"""Time limits of jobs that submitit runs: end the step, save, then be queued again."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fcnexp.sweep.job import STOPPED

SUBMITTED = "SUBMITIT_EXECUTOR"  # environment: set by submitit in its jobs


@contextmanager
def stopping_between_steps() -> Iterator[None]:
    """Within it, submitit's signal lets a training end its step and save before it is requeued.

    The signal, SIGUSR2, comes some time before the job's limit, and when it has to make room. The
    handler of submitit leaves at once, in the middle of a step, where weights may be half updated.
    Does nothing in a process that submitit did not start.
    """
    if SUBMITTED not in os.environ:
        yield
        return
    from submitit import JobEnvironment

    number = JobEnvironment._usr_sig()
    requeue, idle = signal.getsignal(number), signal.getsignal(signal.SIGTERM)
    asked: list[tuple[int, FrameType | None]] = []

    def ask(signum: int, frame: FrameType | None) -> None:
        asked.append((signum, frame))
        if signal.getsignal(signal.SIGTERM) == idle:  # nothing is trained or scored just now
            raise SystemExit(STOPPED)
        signal.raise_signal(signal.SIGTERM)  # Lightning stops after this step

    signal.signal(number, ask)
    try:
        yield
    except SystemExit:
        if not (asked and callable(requeue)):
            raise
        requeue(*asked[0])  # ends the process
    finally:
        signal.signal(number, requeue)
