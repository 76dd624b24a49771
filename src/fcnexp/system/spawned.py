"""A function called on many items in processes of one thread each."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

# Linear algebra libraries read these when loaded. With one thread per core in every process,
# two processes were no faster than one.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def in_processes(one: Callable[[Any], Any], todo: list[Any], workers: int) -> Iterator[Any]:
    """Call a function on each item, in order; workers: number of processes, 0 for this one."""
    if workers == 0:
        yield from map(one, todo)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        with _environment(ONE_THREAD):
            done = pool.map(one, todo)  # starts the processes
        yield from done


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables inside the block, for processes started in it."""
    before = os.environ.copy()
    os.environ |= values
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before
