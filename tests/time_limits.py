"""A limit on the time of a block, which no handler of exceptions in it takes for its own."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Late(BaseException):
    """The block took too long. TimeoutError would be an OSError, which readers handle."""


@contextmanager
def in_time(seconds: int = 20) -> Iterator[None]:
    """Raise Late unless the block ends in time; what it should do takes less than a second."""

    def stop(*_) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
