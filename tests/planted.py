"""Faults in the middle of a training: `regime.loss._target_=planted.FaultyLoss`.

The file `$PLANTED/NAME` names the fault of a job, if it exists; NAME is the job's folder name
without the digest.
"""

import errno
import os
import signal
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from PIL import Image

from fcnexp.data.files import read_rgb
from fcnexp.task.losses import PixelLoss

CALL = 4  # of five steps: the second has been validated and saved


def folder() -> Path:
    return Path(HydraConfig.get().runtime.output_dir)


def exception() -> None:
    raise RuntimeError("a bug")


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def system_exit() -> None:
    raise SystemExit(3)


def memory() -> None:
    raise MemoryError("no more")


def gpu_memory() -> None:
    raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")


def gone() -> None:
    os._exit(7)


def disk_full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def image() -> None:
    path = folder() / "photograph.png"
    Image.new("RGB", (90, 90), (1, 2, 3)).save(path)
    path.write_bytes(path.read_bytes()[:60])
    read_rgb(path)


def half_checkpoint() -> None:
    path = folder() / "checkpoints/last.ckpt"
    path.write_bytes(path.read_bytes()[:5000])
    killed()


def half_result() -> None:
    (folder() / "result.json").write_text('{"status": "do')
    (folder() / "job.json").write_text('{"digest": "')
    killed()


def logger_down() -> None:
    (folder() / "metrics.csv").unlink()
    (folder() / "metrics.csv").mkdir()  # the next line cannot be written


FAULTS = {
    fault.__name__: fault
    for fault in (
        *(exception, killed, system_exit, memory, gpu_memory, gone, disk_full, image),
        *(half_checkpoint, half_result, logger_down),
    )
}
ALL = (*FAULTS, "not_a_number")


class FaultyLoss(PixelLoss):
    """`PixelLoss` with a planted fault."""

    calls = 0

    def forward(self, scores, label):
        self.calls += 1
        planted = Path(os.environ["PLANTED"]) / folder().name.rpartition("_")[0]
        fault = planted.read_text() if planted.is_file() else None
        loss = super().forward(scores, label)
        if fault is None or self.calls != CALL:
            return loss
        if fault == "not_a_number":
            return loss * float("nan")
        FAULTS[fault]()
        return loss
