"""A training that tells when its first step is done, and ends there.

`python -m fcnexp.benching.first_step [overrides]` is `python -m fcnexp.train [overrides]` but for
that: the time since 1970, in seconds, is the last line it prints.
"""

import os
import time
from typing import Any


def tell_and_leave(*_: Any) -> None:
    """Print the time and end the process at once, whatever else is still running."""
    print(f"\n{time.time()}", flush=True)
    os._exit(0)


def main() -> None:
    """Entry point."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from fcnexp import train

    register_optimizer_step_post_hook(tell_and_leave)
    train.main()


if __name__ == "__main__":
    main()
