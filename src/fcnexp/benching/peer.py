"""The most widely used port, wkentaro's pytorch-fcn (package `torchfcn`), if installed.

It imports `fcn`, an unmaintained package on top of Chainer that fails with NumPy 2. `torchfcn` uses
it for pictures and downloads only, which are not measured, so an empty module replaces it if it
cannot be imported.
"""

import importlib
import sys
import types
import warnings
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

NAME = "torchfcn"


def torchfcn() -> Any:
    """Import and return the package, or return None if it cannot be imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from distutils, and skimage's font cache
        try:
            importlib.import_module("fcn")
        except Exception:  # chainer raises many types with NumPy 2
            stand_in: Any = types.ModuleType("fcn")
            stand_in.data = types.ModuleType("fcn.data")
            sys.modules["fcn"] = stand_in
        try:
            return importlib.import_module(NAME)
        except Exception:  # not installed, or a dependency is broken
            if not hasattr(sys.modules["fcn"], "__file__"):
                del sys.modules["fcn"]  # so that later imports do not get the empty module
            return None


def cross_entropy2d(scores: Tensor, label: Tensor) -> Tensor:
    """Return the summed loss of `torchfcn.trainer.cross_entropy2d`, or of our copy without it.

    scores (N, K, H, W); label int64 (N, H, W), -1 for void.
    """
    package = torchfcn()
    if package is not None:
        return package.trainer.cross_entropy2d(scores, label, size_average=False)
    n, c, h, w = scores.shape
    log_p = F.log_softmax(scores, dim=1).transpose(1, 2).transpose(2, 3).contiguous()
    log_p = log_p[label.view(n, h, w, 1).repeat(1, 1, 1, c) >= 0].view(-1, c)
    return F.nll_loss(log_p, label[label >= 0], reduction="sum")


def net(stride: int) -> nn.Module:
    """Build torchfcn's FCN-32s, 16s or 8s with 21 classes. torchfcn must be installed."""
    return getattr(torchfcn().models, f"FCN{stride}s")(n_class=21)
