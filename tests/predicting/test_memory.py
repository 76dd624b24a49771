"""Large images in little memory: the process stays under the limit and the labels are the same."""

import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_predict import write_checkpoint

from fcnexp import predict
from fcnexp.data.files import read_rgb
from fcnexp.predicting.memory import bytes_of_text

# RUSAGE_CHILDREN covers all finished children, so an extra process runs the command and reports.
PEAK = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "fcnexp.predict", *sys.argv[1:]])
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
raise SystemExit(done.returncode)
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", PEAK, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def write_picture(path: Path, width: int, height: int) -> None:
    """Write an image with structure at every scale."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8))
    fine = rng.integers(-30, 30, (height, width, 1))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    Image.fromarray((smooth + fine).clip(0, 255).astype(np.uint8)).save(path)


def check(folder: Path, *, memory: str | None) -> None:
    """Check that `memory`, by default the least that predict names, suffices without new labels."""
    arguments = ["checkpoint=net.ckpt", "input=big.png", "output=out"]
    arguments += ["beside=true", "save_scores=true"]
    if memory is None:
        done = run(folder, *arguments, "memory=1MB")
        assert done.returncode == 1
        found = re.search(r"try memory=(\d+)MB", done.stderr)
        assert found, done.stderr
        memory = f"{found[1]}MB"
    done = run(folder, *arguments, f"memory={memory}")
    assert done.returncode == 0, done.stderr
    limit = bytes_of_text(memory)
    peak = int(done.stdout.split("peak ")[-1])
    assert peak <= limit, f"{peak / 1e6:.0f} MB of {memory}"
    labeller = predict.labeller_of(str(folder / "net.ckpt"), None, "cpu")
    rgb = read_rgb(folder / "big.png")
    assert labeller.bytes_of(*rgb.shape[1:]) > limit / 2, "the limit does not require windows"
    whole = labeller.scores({"rgb": rgb})
    found = torch.from_numpy(np.load(folder / "out/big.npy"))
    # Rounding depends on the shape of the input.
    assert (found - whole).abs().max() < 1e-4 * whole.abs().max()
    cut = torch.from_numpy(np.array(Image.open(folder / "out/big.png")))
    # Either class may win if two tie up to rounding.
    assert (whole.argmax(0) != cut).float().mean() < 1e-5


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "RUSAGE_CHILDREN"), reason="needs POSIX")
def test_the_least_memory_named_is_enough_and_labels_stay_the_same(tmp_path):
    torch.manual_seed(0)
    write_checkpoint(tmp_path / "net.ckpt", "backbone=tiny", "backbone.widths=[32,8,8,8,8,8]")
    write_picture(tmp_path / "big.png", 1500, 1400)
    check(tmp_path, memory=None)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["tiny", "googlenet"])
def test_24_million_pixels_in_2_gigabytes(tmp_path, backbone):
    torch.manual_seed(0)
    widths = [] if backbone == "googlenet" else ["backbone.widths=[16,32,64,96,128,128]"]
    write_checkpoint(tmp_path / "net.ckpt", f"backbone={backbone}", *widths)
    write_picture(tmp_path / "big.png", 6000, 4000)
    check(tmp_path, memory="2GB")
