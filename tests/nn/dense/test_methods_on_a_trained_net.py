"""A trained net scored with another dense method, from the command line."""

from pathlib import Path

import numpy as np
import pytest
from commands import TINY, Done, fcnexp


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Folder that holds the run `first`."""
    folder = tmp_path_factory.mktemp("methods")
    done = run(folder, "hydra.run.dir=first")
    assert done.returncode == 0, done.stderr
    return folder


def run(folder: Path, *arguments: str) -> Done:
    net = [*TINY, "model=fcn32s", "logger=csv", "pictures=0"]
    return fcnexp("train", *net, *arguments, folder=folder, cache=folder / "cache")


@pytest.mark.parametrize(
    "method", ["bilinear", "rarefaction", "shift_and_stitch", "deconv_learned"]
)
def test_a_checkpoint_is_scored_with_another_dense_method(method, folder):
    """The checkpoint is an FCN-32s with fixed upsampling; no further training."""
    again = ["init=checkpoint", "init.path=first/checkpoints/last.ckpt", "regime.steps=0"]
    stride = ["dense.stride=8"] if method in ("rarefaction", "shift_and_stitch") else []
    done = run(folder, *again, f"dense={method}", *stride, f"hydra.run.dir={method}")
    assert done.returncode == 0, done.stderr
    before, after = (
        np.loadtxt(folder / name / "confusion.csv", delimiter=",", skiprows=1, usecols=range(1, 9))
        for name in ("first", method)
    )
    np.testing.assert_array_equal(after.sum(1), before.sum(1))  # every labelled pixel is scored
    if method in ("bilinear", "deconv_learned"):  # untrained: the same interpolation
        np.testing.assert_array_equal(after, before)
