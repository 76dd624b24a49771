"""Property tests, with a count of their examples."""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings

tried: Counter[str] = Counter()  # examples by test, of this process


def holds(examples: int, *drawn: Any, **named: Any) -> Callable[[Callable], Callable]:
    """Run a test on examples of these strategies, and count them.

    examples: for a profile with 100; proportional in others, see `--hypothesis-profile`.
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
