"""The training program with faults planted at named places, independent of time.

`FAULTS='[["backward", 3, "kill"]]' python killed.py OVERRIDES` is `python -m fcnexp.train
OVERRIDES`, killed when it reaches "backward" for the third time; see `ACTIONS` for other faults. A
fourth entry is the rank of the affected process, by default 0. Each fault that occurs adds a line
to the file FAULTS_SEEN, if that is set.
"""

import csv
import errno
import functools
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy

reached: Counter[str] = Counter()  # visits of each place by this process


def _signal_to_group(number: int) -> None:
    """Signal all processes of the command from another one, as a terminal does on Ctrl-C."""
    subprocess.run(
        [sys.executable, "-c", f"import os; os.killpg({os.getpgrp()}, {int(number)})"],
        start_new_session=True,  # otherwise it would get the signal itself
        check=True,
    )


def _fail(kind: int) -> None:
    raise OSError(kind, os.strerror(kind), "planted")


def _spoil() -> None:
    with open("out/checkpoints/last.ckpt", "r+b") as file:
        file.seek(1000)
        file.write(b"spoilt")


ACTIONS: dict[str, Callable[[], Any]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "kill all": lambda: _signal_to_group(signal.SIGKILL),
    "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "term all": lambda: _signal_to_group(signal.SIGTERM),
    "ctrl-c": lambda: _signal_to_group(signal.SIGINT),
    "error": lambda: _fail(errno.EIO),
    "full": lambda: _fail(errno.ENOSPC),
    "spoil": _spoil,
}


def reach(place: str) -> None:
    """Perform the action planned for this visit of a place, if any."""
    reached[place] += 1
    for where, number, action, *rank in json.loads(os.environ.get("FAULTS", "[]")):
        own = int(os.environ.get("LOCAL_RANK", "0")) == (rank or [0])[0]
        if own and (where, number) == (place, reached[place]):
            if seen := os.environ.get("FAULTS_SEEN"):
                with open(seen, "a") as file:
                    file.write(f"{place} {number} {action}\n")
            ACTIONS[action]()


def around(
    owner: Any, name: str, *, before: str | None = None, after: str | None = None
) -> Callable[..., Any]:
    """Add places at the start and end of a function or method; return the original."""
    own = getattr(owner, name)

    @functools.wraps(own)
    def passing(*arguments: Any, **settings: Any) -> Any:
        if before:
            reach(before)
        result = own(*arguments, **settings)
        if after:
            reach(after)
        return result

    setattr(owner, name, passing)
    return own


def plant() -> None:
    """Add all places to the program."""
    import torch
    from PIL import Image

    from fcnexp import train
    from fcnexp.data.datamodule import AugmentedDraws
    from fcnexp.nn.weights import checkpoints
    from fcnexp.task.module import SegmentationTask as Task

    around(train, "train_stage", before="begin")
    around(checkpoints, "read_checkpoint", before="load")
    around(AugmentedDraws, "__getitem__", before="read")
    around(Task, "training_step", before="pass", after="loss")
    around(Task, "on_after_backward", before="backward")
    around(
        sys.modules["torch.optim.sgd"], "sgd", after="group"
    )  # one update of a group of parameters
    around(sys.modules["torch.optim.adamw"], "adamw", after="group")
    around(Task, "on_validation_start", after="scoring")
    around(Task, "validation_step", before="image", after="scored")
    around(Task, "on_validation_epoch_end", after="scores")
    around(Image.Image, "save", before="picture")
    for name in ("replace", "rename", "link"):
        _around_renaming(name)
    _around_writing(torch)


def _around_renaming(name: str) -> None:
    """Add places `before FILE` and `after FILE` a file gets its name."""
    own = getattr(os, name)

    def renaming(source: Any, target: Any, **settings: Any) -> None:
        reach(f"before {Path(target).name}")
        own(source, target, **settings)
        reach(f"after {Path(target).name}")

    setattr(os, name, renaming)


def _around_writing(torch: Any) -> None:
    """Add places `half`, within writing a checkpoint, and `line of FILE`, within a line.

    `half of images.npz` is within writing that file.
    """
    save, writer = torch.save, csv.writer

    def saving(stored: Any, file: Any, **settings: Any) -> None:
        whole = io.BytesIO()
        save(stored, whole, **settings)
        content = whole.getvalue()
        if isinstance(file, str | os.PathLike):
            with open(file, "wb") as opened:
                _in_halves(content, opened, "half")
        else:
            _in_halves(content, file, "half")

    class HalfLines:
        """A csv.writer that writes each line in two halves."""

        def __init__(self, file: Any, *arguments: Any, **settings: Any) -> None:
            self.file, self.line = file, io.StringIO()
            self.own = writer(self.line, *arguments, **settings)

        def writerow(self, row: Any) -> None:
            self.own.writerow(row)
            text = self.line.getvalue()
            self.line.seek(0)
            self.line.truncate()
            name = Path(getattr(self.file, "name", "")).name
            name = re.sub(r"^\.part-[0-9a-f]{8}-", "", name)  # temporary name
            _in_halves(text, self.file, f"line of {name}")

        def writerows(self, rows: Any) -> None:
            for row in rows:
                self.writerow(row)

    compress = numpy.savez_compressed

    def compressing(file: Any, **arrays: Any) -> None:
        whole = io.BytesIO()
        compress(whole, **arrays)
        _in_halves(whole.getvalue(), file, "half of images.npz")

    torch.save, csv.writer, numpy.savez_compressed = saving, HalfLines, compressing


def _in_halves(content: str | bytes, file: Any, place: str) -> None:
    file.write(content[: len(content) // 2])
    file.flush()
    reach(place)
    file.write(content[len(content) // 2 :])


def run() -> int:
    """Train with `sys.argv`, and return the exit code."""
    from fcnexp import train

    plant()
    try:
        train.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(run())
