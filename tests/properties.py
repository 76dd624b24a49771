"""Property tests: a test that holds for all that a strategy draws, counted as they run."""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings

tried: Counter[str] = Counter()  # examples by test, of this process


def holds(examples: int, *drawn: Any, **named: Any) -> Callable[[Callable], Callable]:
    """`hypothesis.given` these strategies, so many examples, each of them counted.

    examples: where the profile has 100; in proportion in another, as `--hypothesis-profile` says.
    """
    most = examples * settings.default.max_examples // 100

    def decorate(test: Callable) -> Callable:
        @settings(max_examples=most)
        @given(*drawn, **named)
        @functools.wraps(test)
        def counting(*values: Any, **by_name: Any) -> None:
            test(*values, **by_name)
            tried[test.__name__] += 1

        return counting

    return decorate
