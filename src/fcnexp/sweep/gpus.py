"""Which GPU each job of a sweep may see."""

import os
import shutil
import subprocess
from collections.abc import Sequence

from fcnexp.errors import ConfigError


def hand_out(choice: str | Sequence[int | str] | None, n_jobs: int) -> list[str | None]:
    """For each job at a time, what CUDA_VISIBLE_DEVICES is to be; None leaves it as it is.

    choice: ids; `auto` for those that there are, in turn; None for none. Raises ConfigError.
    """
    if choice is None:
        return [None] * n_jobs
    if choice == "auto":
        found = gpus_here()
        return [found[i % len(found)] for i in range(n_jobs)] if found else [None] * n_jobs
    if isinstance(choice, str) or not choice:
        raise ConfigError(
            f"hydra.launcher.gpus={choice}: allowed are auto, null, or a list of ids, say [0,1]"
        )
    if len(choice) < n_jobs:
        raise ConfigError(
            f"hydra.launcher.gpus={list(choice)}: {len(choice)} for hydra.launcher.n_jobs={n_jobs} "
            "jobs at a time; name one for each, twice where two jobs are to share it"
        )
    return [str(gpu) for gpu in choice[:n_jobs]]


def gpus_here() -> list[str]:
    """Ids of the GPUs that this process may use; what CUDA_VISIBLE_DEVICES says, if it does."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu.strip() for gpu in visible.split(",") if gpu.strip() not in ("", "-1")]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=index", "--format=csv,noheader"]
    listed = subprocess.run(command, capture_output=True, text=True)
    return listed.stdout.split() if listed.returncode == 0 else []
