"""Peak memory of one candidate, measured in a separate process.

`peak` starts that process, `python -m fcnexp.benching.peak '{"name": ...}'`.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

PASSES = 2  # per size: the second one includes the optimiser's state and caches


def peak(**asked: Any) -> float:
    """Return the peak bytes of a candidate, including the program and its weights.

    asked: arguments of `measure`, as JSON values. Raises RuntimeError if the process fails.
    """
    command = [sys.executable, "-m", "fcnexp.benching.peak", json.dumps(asked)]
    path = os.pathsep.join(filter(None, sys.path))  # torchfcn may be on this process's path only
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
    """Return the peak bytes of PASSES passes at each size. what: `infer` or `train`."""
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
    """Return the peak resident bytes of this process.

    On Linux `ru_maxrss` is inherited from the parent process, so /proc is read if it exists.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    unit = 1 if sys.platform == "darwin" else 1024  # bytes per unit of ru_maxrss
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(json.dumps({"bytes": measure(**json.loads(sys.argv[1]))}))
