"""A trained net's pixels by another road, from the command line."""

import numpy as np
import pytest
from commands import TINY, fcnexp


@pytest.mark.parametrize("road", ["bilinear", "rarefaction", "shift_and_stitch", "deconv_learned"])
def test_a_checkpoint_is_scored_by_another_road(road, tmp_path):
    """Trained as FCN-32s with fixed upsampling; nothing is trained anew."""
    wires = {"folder": tmp_path, "cache": tmp_path / "cache"}
    done = fcnexp("train", *TINY, "model=fcn32s", "hydra.run.dir=first", **wires)
    assert done.returncode == 0, done.stderr
    again = ["init=checkpoint", "init.path=first/checkpoints/last.ckpt", "regime.steps=0"]
    stride = ["dense.stride=8"] if road in ("rarefaction", "shift_and_stitch") else []
    done = fcnexp(
        "train", *TINY, "model=fcn32s", *again, f"dense={road}", *stride, "hydra.run.dir=b", **wires
    )
    assert done.returncode == 0, done.stderr
    before, after = (
        np.loadtxt(
            tmp_path / folder / "confusion.csv", delimiter=",", skiprows=1, usecols=range(1, 9)
        )
        for folder in ("first", "b")
    )
    np.testing.assert_array_equal(after.sum(1), before.sum(1))  # every labelled pixel is scored
    if road in ("bilinear", "deconv_learned"):  # before it learns: the same interpolation
        np.testing.assert_array_equal(after, before)
