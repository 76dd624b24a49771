"""Transplanting weights by the original layer names. Source: the release's `surgery.py`."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from fcnexp.errors import WeightsError


@dataclass
class Transplant:
    """What a transplant did, by layer name.

    copied: layers that got weights; reshaped: those of them whose fully connected blobs became
    convolutions; new: layers of the net that the file did not have, with their modules; unused:
    layers of the file that the net does not have.
    """

    copied: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)
    new: dict[str, nn.Module] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)

    def line(self) -> str:
        """The report as one line."""
        parts = [f"copied {len(self.copied)} layers"]
        if self.reshaped:
            parts.append(f"reshaped {', '.join(self.reshaped)}")
        parts.append(f"new {', '.join(self.new) or 'none'}")
        if self.unused:
            parts.append(f"not used {', '.join(self.unused)}")
        return "; ".join(parts)


def load_blobs(
    net: nn.Module, blobs: dict[str, list[np.ndarray]], strict: bool = True
) -> Transplant:
    """Copy blobs into the layers of the same name; a fully connected blob is reshaped to fit.

    net: has `layers()` and `score_layers()`. strict: every layer but the class scores must be
    there; score layers of another number of classes are left new in any case.
    Raises WeightsError, before anything is copied, where a layer is missing or does not fit.
    """
    layers: dict[str, nn.Module] = net.layers()  # type: ignore[operator]
    scores = set(net.score_layers()) if hasattr(net, "score_layers") else set()  # type: ignore[operator]
    report = Transplant(unused=[name for name in blobs if name not in layers])
    found: list[tuple[torch.Tensor, np.ndarray]] = []
    for name, layer in layers.items():
        targets = [layer.weight] + ([layer.bias] if layer.bias is not None else [])
        if name not in blobs:
            report.new[name] = layer
            continue
        if name in scores and len(blobs[name][0]) != len(targets[0]):  # type: ignore[arg-type]
            report.new[name] = layer
            continue
        found += _fit(name, targets, blobs[name], report)  # type: ignore[arg-type]
    missing = [name for name in report.new if name not in scores]
    if not report.copied or (strict and missing):
        listed = ", ".join(missing[:4]) + (" ..." if len(missing) > 4 else "")
        raise WeightsError(
            f"the file has no blobs for {len(missing)} of the net's {len(layers)} layers "
            f"({listed}); it has {', '.join(list(blobs)[:4])} ...: choose the file of this "
            "backbone, or init.strict=false to start the missing layers at random"
        )
    with torch.no_grad():
        for parameter, blob in found:
            parameter.copy_(torch.from_numpy(blob).view(parameter.shape))
    return report


def _fit(
    name: str, targets: list[torch.Tensor], blobs: list[np.ndarray], report: Transplant
) -> list[tuple[torch.Tensor, np.ndarray]]:
    if len(blobs) != len(targets):
        raise WeightsError(f"layer {name} has {len(blobs)} blobs; the net's has {len(targets)}")
    for target, blob in zip(targets, blobs, strict=True):
        # A fully connected blob is (out, in * kh * kw), or padded with ones in front in old files.
        flat = tuple(n for n in blob.shape if n != 1)
        same = flat == tuple(n for n in target.shape if n != 1)
        dense = blob.size == target.numel() and flat == (len(target), target[0].numel())
        if not (same or dense):
            raise WeightsError(
                f"layer {name} is {tuple(blob.shape)}; the net's is {tuple(target.shape)}: "
                "choose the file of this backbone"
            )
        if dense and not same and name not in report.reshaped:
            report.reshaped.append(name)
    report.copied.append(name)
    return list(zip(targets, blobs, strict=True))
