"""A trained net's pixels by another road, from the command line."""

from pathlib import Path

import numpy as np
import pytest
from commands import TINY, Done, fcnexp


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Holds `first`, a run."""
    folder = tmp_path_factory.mktemp("roads")
    done = run(folder, "hydra.run.dir=first")
    assert done.returncode == 0, done.stderr
    return folder


def run(folder: Path, *arguments: str) -> Done:
    net = [*TINY, "model=fcn32s", "logger=csv", "pictures=0"]
    return fcnexp("train", *net, *arguments, folder=folder, cache=folder / "cache")


@pytest.mark.parametrize("road", ["bilinear", "rarefaction", "shift_and_stitch", "deconv_learned"])
def test_a_checkpoint_is_scored_by_another_road(road, folder):
    """Trained as FCN-32s with fixed upsampling; nothing is trained anew."""
    again = ["init=checkpoint", "init.path=first/checkpoints/last.ckpt", "regime.steps=0"]
    stride = ["dense.stride=8"] if road in ("rarefaction", "shift_and_stitch") else []
    done = run(folder, *again, f"dense={road}", *stride, f"hydra.run.dir={road}")
    assert done.returncode == 0, done.stderr
    before, after = (
        np.loadtxt(folder / name / "confusion.csv", delimiter=",", skiprows=1, usecols=range(1, 9))
        for name in ("first", road)
    )
    np.testing.assert_array_equal(after.sum(1), before.sum(1))  # every labelled pixel is scored
    if road in ("bilinear", "deconv_learned"):  # before it learns: the same interpolation
        np.testing.assert_array_equal(after, before)
