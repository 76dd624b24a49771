"""Peak memory of one candidate, in a fresh process of its own.

`python -m fcnexp.benching.peak '{"name": ...}'` is that process; `peak` starts it.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

PASSES = 2  # of each size: the second one has the optimiser's state, and what was kept


def peak(**asked: Any) -> float:
    """Bytes that a candidate takes at most, the program and its weights included.

    asked: what `measure` takes, as JSON can hold it. Raises RuntimeError where the process fails.
    """
    command = [sys.executable, "-m", "fcnexp.benching.peak", json.dumps(asked)]
    path = os.pathsep.join(filter(None, sys.path))  # a peer that this process can import
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return float(json.loads(done.stdout.splitlines()[-1])["bytes"])


def measure(
    *,
    what: str,
    name: str,
    model: str,
    channels: int,
    sizes: list[list[int]],
    device: str,
    threads: int,
) -> float:
    """Bytes at the peak of some passes at these sizes. what: `infer` or `train`."""
    torch.set_num_threads(threads)
    place = torch.device(device)
    if what == "train":
        from fcnexp.benching.train_candidates import learner

        one = learner(name, model, channels, place)
        steps = [one.example(size) for size in sizes]
        for _ in range(PASSES):
            for inputs in steps:
                one.step(*inputs)
    else:
        from fcnexp.benching.nets import build, candidate, passes

        run = passes(candidate(name, build(name.partition(", ")[0], model, channels), place), sizes)
        for _ in range(PASSES):
            run()
    if place.type == "cuda":
        return float(torch.cuda.max_memory_allocated(place))
    return float(resident_peak())


def resident_peak() -> int:
    """Bytes of memory that this process had at most.

    Linux hands `ru_maxrss` down from the process that started this one, so that its own page is
    read where there is one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    unit = 1 if sys.platform == "darwin" else 1024  # bytes, of what getrusage counts by
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(json.dumps({"bytes": measure(**json.loads(sys.argv[1]))}))
