"""Transplanting weights by the original layer names. Source: the release's `surgery.py`."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from fcnexp.errors import WeightsError
from fcnexp.nn.layers import widen
from fcnexp.nn.original import SUFFIX, Constant, blobs, constants


@dataclass
class Transplant:
    """What a transplant did, by original layer name.

    copied: layers that got weights; reshaped: those of them whose fully connected blobs became
    convolutions; widened: first layers whose filters were extended to more input channels (the
    mean of the three colour filters); checked: fixed layers whose blobs are the expected constants;
    new: layers of the net that the file did not have, with their parameters; unused: layers of the
    file that the net does not have.
    """

    copied: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)
    widened: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    new: dict[str, list[Tensor]] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)

    def line(self) -> str:
        """The report as one line."""
        parts = [f"copied {len(self.copied)} layers"]
        for what in ("reshaped", "widened", "checked"):
            if names := getattr(self, what):
                parts.append(f"{what} {', '.join(names)}")
        parts.append(f"new {', '.join(self.new) or 'none'}")
        if self.unused:
            parts.append(f"not used {', '.join(self.unused)}")
        return "; ".join(parts)


def load_blobs(
    net: nn.Module, blobs_by_layer: dict[str, list[np.ndarray]], strict: bool = True
) -> Transplant:
    """Copy blobs into the layers of the same original name.

    Fully connected blobs (fc6, fc7 of a classifier) become convolutions. A net of several streams
    takes `conv1_1color` and `conv1_1hha`, or, in both, a classifier's `conv1_1`. Where the first
    layer takes more channels than the blob, `conv1_1` is widened to `conv1_1_bgrd`. Bilinear
    kernels and constants on taps are compared with ours.
    strict: every layer but the class scores must be there; score layers of another number of
    classes are left new in any case.
    Raises WeightsError, before anything is copied, where a layer is missing or does not fit.
    """
    targets, fixed = blobs(net), constants(net)
    report, used = Transplant(), set()
    copies: list[tuple[Tensor, np.ndarray]] = []
    for name, tensors in targets.items():
        source = _source(name, blobs_by_layer)
        if source is None or _of_other_classes(name, tensors, blobs_by_layer[source]):
            report.new[name] = tensors
            continue
        copies += _fit(name, tensors, blobs_by_layer[source], report)
        used.add(source)
    for name, constant in fixed.items():
        if name in blobs_by_layer and name not in targets:
            _check_constant(name, constant, blobs_by_layer[name])
            report.checked.append(name)
            used.add(name)
    report.unused = [name for name in blobs_by_layer if name not in used and name not in targets]
    missing = [name for name in report.new if not name.startswith("score")]
    if not report.copied or (strict and missing):
        listed = ", ".join(missing[:4]) + (" ..." if len(missing) > 4 else "")
        raise WeightsError(
            f"the file has no blobs for {len(missing)} of the net's {len(targets)} layers "
            f"({listed}); it has {', '.join(list(blobs_by_layer)[:4])} ...: choose the file of "
            "this backbone, or init.strict=false to start the missing layers at random"
        )
    with torch.no_grad():
        for parameter, blob in copies:
            parameter.copy_(torch.from_numpy(blob).view(parameter.shape))
    return report


def _source(name: str, blobs_by_layer: dict[str, list[np.ndarray]]) -> str | None:
    """The file's layer for this one of ours: its own name, or a classifier's plain name."""
    if name in blobs_by_layer:
        return name
    if name.startswith("score"):
        return None
    for suffix in ("_bgrd", *SUFFIX.values(), "hha", "depth"):
        plain = name.removesuffix(suffix)
        if plain != name and plain in blobs_by_layer:
            return plain
    return None


def _of_other_classes(name: str, tensors: list[Tensor], found: list[np.ndarray]) -> bool:
    return name.startswith("score") and len(found[0]) != len(tensors[0])


def _fit(
    name: str, targets: list[Tensor], found: list[np.ndarray], report: Transplant
) -> list[tuple[Tensor, np.ndarray]]:
    if len(found) != len(targets):
        raise WeightsError(f"layer {name} has {len(found)} blobs; the net's has {len(targets)}")
    fitted = []
    for target, blob in zip(targets, found, strict=True):
        if name not in report.copied and _can_widen(target, blob):
            blob = widen(blob, target.shape[1])
            report.widened.append(name)
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
        fitted.append((target, blob))
    report.copied.append(name)
    return fitted


def _can_widen(target: Tensor, blob: np.ndarray) -> bool:
    """Whether these are colour filters for a first layer that takes other channels, too."""
    if target.ndim != 4 or blob.ndim != 4 or blob.shape[1] != 3 or target.shape[1] == 3:
        return False
    return blob.shape[0] == target.shape[0] and blob.shape[2:] == tuple(target.shape[2:])


def _check_constant(name: str, constant: Constant, found: list[np.ndarray]) -> None:
    """Raise WeightsError where a fixed layer's blob is not what we compute with."""
    expected = constant.blob().numpy()
    same_size = len(found) == 1 and found[0].size == expected.size
    if not same_size or not np.allclose(found[0].reshape(expected.shape), expected, atol=1e-6):
        what = "its bilinear kernel" if len(constant.shape) == 4 else f"{constant.value} throughout"
        raise WeightsError(
            f"layer {name} is fixed in this net, and the file's blob is not {what}: the file is of "
            "a net whose upsampling was trained, or of another fusion depth"
        )
