"""The peer that most people would take, wkentaro's pytorch-fcn (package `torchfcn`), if installed.

It imports `fcn`, a package on chainer, which neither is kept nor imports with NumPy 2. Of it
`torchfcn` uses a progress picture and downloads, nothing that is measured here, so that an empty
stand-in takes its place where it does not import.
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
    """The package, or None where it does not import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # distutils, and a font cache of skimage's
        try:
            importlib.import_module("fcn")
        except Exception:  # chainer raises many types with NumPy 2
            stand_in: Any = types.ModuleType("fcn")
            stand_in.data = types.ModuleType("fcn.data")
            sys.modules["fcn"] = stand_in
        try:
            return importlib.import_module(NAME)
        except Exception:  # not installed, or broken by what it depends on
            if not hasattr(sys.modules["fcn"], "__file__"):
                del sys.modules["fcn"]  # nobody shall take it for the real one
            return None


def cross_entropy2d(scores: Tensor, label: Tensor) -> Tensor:
    """The summed loss of `torchfcn.trainer.cross_entropy2d`, by that very function if it imports.

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
    """Its FCN-32s, 16s or 8s, of 21 classes. It has to be installed."""
    return getattr(torchfcn().models, f"FCN{stride}s")(n_class=21)
