"""System errors: one message, and afterwards the same command completes correctly."""

import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import TINY, Done, fcnexp
from machine_faults import closed, limited, open_files, small_disk
from PIL import Image

from fcnexp.config.compose import PACKAGE
from fcnexp.task.losses import PixelLoss

TRAIN = [*TINY, "logger=csv", "trainer=cpu", "hydra.run.dir=out"]
SPACES = [0, 1, 2, 4, 8, 30, 60, 100, 160, 240]  # blocks of 4096 bytes
LITTLE_MEMORY = """
import resource
from machine_faults import memory_in_use
from fcnexp.task.losses import PixelLoss
from fcnexp.train import main

def forward(self, *arguments, then=PixelLoss.forward):
    resource.setrlimit(resource.RLIMIT_DATA, (memory_in_use() + 2**24, resource.RLIM_INFINITY))
    return then(self, *arguments)

PixelLoss.forward = forward
main()
"""
TESTS = Path(__file__).parents[1]
SIZES = [0, 300, 2_000, 10_000, 40_000]  # limits of file size in bytes


def told(done: Done) -> str:
    """Return the single error message."""
    assert done.returncode == 1, done
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return line


def train(folder: Path, cache: Path, *more: str) -> Done:
    return fcnexp("train", *TRAIN, *more, folder=folder, cache=cache)


def content(folder: Path) -> dict[str, bytes]:
    """Return what interruptions must not change: scores, weights, pictures."""
    import torch

    result = json.loads((folder / "result.json").read_text())
    weights = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    files = {path.name: path for path in folder.rglob("*.png")}
    files["confusion"] = folder / "confusion.csv"
    return {
        "scores": json.dumps([result["scores"], result["class_iou"]]).encode(),
        "weights": b"".join(tensor.numpy().tobytes() for tensor in weights.values()),
        **{name: path.read_bytes() for name, path in files.items()},
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Folder with an uninterrupted run, `out`, and the cache of all runs, `cache`."""
    folder = tmp_path_factory.mktemp("whole")
    done = train(folder, folder / "cache")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_full_disk_at_any_point_of_a_training(whole, tmp_path, tell):
    failed = []
    with small_disk(tmp_path / "disk") as disk:
        for blocks in SPACES:
            disk.leave(4096 * blocks)
            done = train(disk.folder, whole / "cache")
            if done.returncode:
                assert "no space left on the disk" in told(done), blocks
                failed.append(blocks)
            disk.leave(None)
            again = train(disk.folder, whole / "cache") if done.returncode else done
            assert again.returncode == 0, (blocks, again.stderr)
            assert content(disk.folder / "out") == content(whole / "out"), blocks
            assert not list(disk.folder.rglob(".part-*"))
            shutil.rmtree(disk.folder / "out")
    assert len(failed) >= len(SPACES) // 2
    tell(
        f"full disk: training with {len(SPACES)} amounts of room, {len(failed)} too small, each "
        "told in one line; with room again all ended with the same bits"
    )


@pytest.mark.slow
def test_full_disk_in_a_sweep_loses_no_record(whole, tmp_path, tell, monkeypatch):
    command = ["-m", *TINY, "logger=csv", "trainer=cpu", "hydra.sweep.dir=sweep", "seed=0,1,2"]
    losses, forward = [], PixelLoss.forward
    with small_disk(tmp_path / "disk") as disk:

        def fill(self, scores, label):
            losses.append(1)
            if len(losses) == 5 + 4:  # the second job's fourth step
                disk.leave(0)
            return forward(self, scores, label)

        monkeypatch.setattr(PixelLoss, "forward", fill)
        done = fcnexp("train", *command, folder=disk.folder, cache=whole / "cache")
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        assert done.stderr.count("no space left on the disk") == 2, done.stderr
        first = {path: path.read_bytes() for path in disk.folder.rglob("result.json")}
        assert len(first) == 1
        disk.leave(None)
        monkeypatch.setattr(PixelLoss, "forward", forward)
        done = fcnexp("train", *command, folder=disk.folder, cache=whole / "cache")
        assert done.returncode == 0 and "3 done (2 now, 1 before)" in done.stdout, done.stderr
        (job,) = (disk.folder / "sweep").glob("*seed0*")
        assert content(job) == content(whole / "out")
        assert all(path.read_bytes() == kept for path, kept in first.items())
    tell("full disk in a sweep of 3: 1 done, 2 failed with one line each; then the 2, not the 1")


def commands(whole: Path, folder: Path) -> dict[str, list[str]]:
    """Arguments of every other command that writes, by name."""
    checkpoint = f"checkpoint={whole / 'out/checkpoints/last.ckpt'}"
    (folder / "photos").mkdir()
    (folder / "depth").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (60, 70, 3)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "photos/a.png")
    depth = (1000 + 10 * np.indices((60, 70))[0]).astype(np.uint16)
    Image.fromarray(depth).save(folder / "depth/a.png")
    camera = "intrinsics=[60,60,35,30]"
    return {
        "evaluate": [checkpoint, "hydra.run.dir=result", "workers=0", "trainer=cpu", "trimap=[2]"],
        "predict": [checkpoint, "input=photos", "output=result", "save_scores=true"],
        "export": [checkpoint, "format=state_dict", "output=result/net.pt"],
        "report": [str(whole / "out"), "output=result"],
        "prepare": ["hha", "depth=depth", camera, "output=result", "workers=0"],
    }


def files(folder: Path) -> dict[str, bytes]:
    """Files that a command wrote, except logs."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"]
    names = {path.relative_to(folder): path for path in found}
    return {str(name): path.read_bytes() for name, path in sorted(names.items())}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate", "predict", "export", "report", "prepare"])
def test_no_command_leaves_a_partial_file(command, whole, tmp_path, tell):
    arguments = commands(whole, tmp_path)[command]

    def run() -> Done:
        return fcnexp(command, *arguments, folder=tmp_path, cache=whole / "cache")

    result = tmp_path / "result"
    assert run().returncode == 0
    right = files(result)
    failed = 0
    for size in SIZES:
        shutil.rmtree(result)
        with limited(resource.RLIMIT_FSIZE, size):
            done = run()
        if done.returncode:
            failed += 1
            assert "larger than the largest file allowed" in told(done)
        part = files(result)
        assert all(right[name] == held for name, held in part.items()), (size, list(part))
        if done.returncode:
            assert run().returncode == 0
        assert files(result) == right
    assert failed
    tell(f"files cut short: {command}, {failed} of {len(SIZES)} limits hit, 0 half files, one line")


@pytest.mark.parametrize("command", ["train", "report"])
def test_unwritable_folder_is_reported(command, tmp_path, whole):
    folder = tmp_path / "closed"
    folder.mkdir()
    where = f"hydra.run.dir={folder / 'run'}" if command == "train" else f"output={folder / 'new'}"
    arguments = [*TINY, "logger=csv"] if command == "train" else [str(whole / "out")]
    with closed(folder):
        line = told(fcnexp(command, *arguments, where, folder=tmp_path, cache=whole / "cache"))
    assert f"{folder}" in line and "cannot be read or written" in line
    assert where.partition("=")[0] in line.partition("; ")[2] and not list(folder.iterdir())


def test_killed_data_loading_worker_is_reported(whole, tmp_path, monkeypatch):
    forward, calls = PixelLoss.forward, []

    def kill(self, scores, label):
        calls.append(1)
        if len(calls) == 4:
            workers = multiprocessing.active_children()
            os.kill(workers[0].pid, signal.SIGKILL)
            workers[0].join()
        return forward(self, scores, label)

    monkeypatch.setattr(PixelLoss, "forward", kill)
    line = told(train(tmp_path, whole / "cache", "workers=1"))
    assert re.match(
        r"error: data-loading worker \d+ (was ended \(Killed\)|exited unexpectedly): ", line
    )
    # torch may notice the loss only after the batches that the worker had already read.
    assert re.search(r"continues from step [24]$", line)
    monkeypatch.setattr(PixelLoss, "forward", forward)
    assert train(tmp_path, whole / "cache", "workers=1").returncode == 0
    assert content(tmp_path / "out") == content(whole / "out")


def test_too_many_open_files_are_reported(whole, tmp_path, tell):
    failed = 0
    more = range(6)
    for few in more:
        with limited(resource.RLIMIT_NOFILE, open_files() + few):
            done = train(tmp_path, whole / "cache")
        if done.returncode:
            failed += 1
            assert "too many open files (the limit is" in told(done)
            assert train(tmp_path, whole / "cache").returncode == 0
        assert content(tmp_path / "out") == content(whole / "out")
        shutil.rmtree(tmp_path / "out")
    assert failed
    tell(f"open files: {len(more)} limits, {failed} too low, each told in one line")


def test_exhausted_memory_is_reported(tmp_path):
    """In a new process: this one may have kept enough freed memory for the step."""
    command = [sys.executable, "-c", LITTLE_MEMORY, *TRAIN, "data.side=[500,520]"]
    paths = os.pathsep.join([str(PACKAGE.parent), str(TESTS)])
    done = subprocess.run(
        [*command, "regime.batch_size=4"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths, "FCNEXP_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    line = told(Done(done.returncode, done.stdout, done.stderr))
    assert "out of memory" in line and "regime.batch_size" in line


@pytest.mark.slow
@pytest.mark.parametrize("how", ["size=64k", "ro"], ids=["too small", "read-only"])
def test_exhausted_shared_memory_is_reported(how, tmp_path):
    """A data-loading worker passes its images through it."""
    probe = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", how, "tmpfs", "/dev/shm"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("needs the right to mount a disk for one process")
    command = [sys.executable, "-m", "fcnexp.train", *TRAIN, "workers=1", "data.side=[200,220]"]
    mounted = f'mount -t tmpfs -o {how} tmpfs /dev/shm && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounted, "sh", *command],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent), "FCNEXP_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    line = told(Done(done.returncode, done.stdout, done.stderr))
    assert line.startswith("error: no shared memory (/dev/shm: ") and "workers=0" in line
