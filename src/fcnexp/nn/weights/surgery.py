"""Transplanting of weights by the original layer names. Source: the release's `surgery.py`."""

import re
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from fcnexp.errors import WeightsError
from fcnexp.nn.layers import widen
from fcnexp.nn.weights import caffe_norms
from fcnexp.nn.weights.caffe_aliases import todays_names
from fcnexp.nn.weights.caffe_names import SUFFIX, Constant, blobs, constants, first_layers

LAST_UPSAMPLING = re.compile("upscore(|32|16|8|4)")


@dataclass
class Transplant:
    """Report of a transplant, by original layer name.

    copied: layers that got weights; reshaped: copied layers whose fully connected blobs became
    convolutions; widened: first layers extended to more input channels by the mean of the three
    colour filters; spread: filters made twice as wide with zeros between their weights
    (pool5_stride=1); checked: fixed layers whose blobs have the expected values; renamed: the
    file's names of layers that it names differently; new: layers missing in the file, with their
    parameters; unused: layers of the file missing in the net.
    """

    copied: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)
    widened: list[str] = field(default_factory=list)
    spread: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    new: dict[str, list[Tensor]] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)

    def line(self) -> str:
        """The report as one line."""
        parts = [f"copied {len(self.copied)} layers"]
        for what in ("reshaped", "widened", "spread", "checked"):
            if names := getattr(self, what):
                parts.append(f"{what} {', '.join(names)}")
        parts += [f"{old} read as {name}" for name, old in self.renamed.items()]
        parts.append(f"new {', '.join(self.new) or 'none'}")
        if self.unused:
            parts.append(f"not used {', '.join(self.unused)}")
        return "; ".join(parts)


def load_blobs(
    net: nn.Module, blobs_by_layer: dict[str, list[np.ndarray]], strict: bool = True
) -> Transplant:
    """Copy blobs into the layers of the same original name.

    Fully connected blobs (fc6, fc7 of a classifier) become convolutions. A net with two streams
    takes `conv1_1color` and `conv1_1hha`, or a classifier's `conv1_1` for both. If the first layer
    has more input channels than the blob, `conv1_1` is widened to `conv1_1_bgrd`. Bilinear kernels
    and constants on taps must equal the net's. Names of 2015 and DeconvNet's are understood.
    strict: the file must have every layer, with the net's number of classes; only a classifier's
    file, without score layers, may leave the score layers new, and the batch normalisations if it
    has none. Conversely, the net must have every layer of a file that is not a classifier's. If not
    strict, layers that are missing or have another number of classes stay new.
    Raises WeightsError, before copying anything, if a layer is missing or does not fit.
    """
    norms = {name: caffe_norms.tensors(norm) for name, norm in caffe_norms.norms(net).items()}
    targets, fixed = blobs(net) | norms, constants(net)
    given = {name: _arrays(name, found) for name, found in blobs_by_layer.items()}
    given = caffe_norms.as_torch(net, given)
    given, renamed = todays_names(net, given)
    if strict:
        _check_scales(set(fixed), set(given))
    report, used = Transplant(renamed=renamed), set()
    copies: list[tuple[Tensor, np.ndarray]] = []
    first = first_layers(net)
    for name, tensors in targets.items():
        source = _source(name, given)
        if source is None or _has_other_classes(name, tensors[0].shape, given[source]):
            report.new[name] = tensors
            continue
        copies += _fit(name, tensors, given[source], report, first=name in first)
        used.add(source)
    for name, constant in fixed.items():
        if name in given and not _has_other_classes(name, constant.shape, given[name]):
            _check_constant(name, constant, given[name])
            report.checked.append(name)
            used.add(name)
    report.unused = [name for name in given if name not in used and name not in targets]
    scores_pixels = any(word in n for n in given for word in ("score", "deconv", "upsample"))
    kept = set() if scores_pixels else _may_be_new(set(report.new), set(given), set(norms))
    missing = [name for name in report.new if name not in kept]
    if not report.copied or (strict and missing):
        listed = ", ".join(missing[:4]) + (" ..." if len(missing) > 4 else "")
        raise WeightsError(
            f"the file has no blobs for {len(missing)} of the net's {len(targets)} layers "
            f"({listed}), or has them for another number of classes; it has "
            f"{', '.join(list(given)[:4])} ...: choose this net's file, or set init.strict=false "
            "to initialise the missing layers"
        )
    # Dense methods other than deconvolution have no last upsampling, whose kernel is fixed.
    surplus = [name for name in report.unused if not LAST_UPSAMPLING.fullmatch(name)]
    if strict and scores_pixels and surplus:
        listed = ", ".join(surplus[:4]) + (" ..." if len(surplus) > 4 else "")
        raise WeightsError(
            f"the file has {len(surplus)} layers that this net has not ({listed}): choose "
            "the model, backbone and head of the file's net, or set init.strict=false to leave "
            "these layers out"
        )
    with torch.no_grad():
        for parameter, blob in copies:
            parameter.copy_(torch.from_numpy(blob).view(parameter.shape))
    return report


def _may_be_new(missing: set[str], given: set[str], norms: set[str]) -> set[str]:
    """Those of the missing layers that a classifier has not: score layers, and norms if need be."""
    kept = {name for name in missing - norms if name.startswith(("score", "upscore"))}
    for of_head in (True, False):
        kin = {name for name in norms if ("fc" in name) == of_head}
        kept |= set() if kin & given else kin
    return kept


def _source(name: str, blobs_by_layer: dict[str, list[np.ndarray]]) -> str | None:
    """Name of the file's layer for one of the net's: the same, or without the stream's suffix."""
    if name in blobs_by_layer:
        return name
    if name.startswith("score"):
        return None
    for suffix in ("_bgrd", *SUFFIX.values(), "hha", "depth"):
        plain = name.removesuffix(suffix)
        if plain != name and plain in blobs_by_layer:
            return plain
    return None


def _has_other_classes(name: str, shape: tuple[int, ...], found: list[np.ndarray]) -> bool:
    """True if a score layer or its upsampling has another number of classes than the net."""
    blob = found[0]
    if name.startswith("score"):
        return blob.size != np.prod(shape) and blob.size % int(np.prod(shape[1:])) == 0
    kernel_alike = blob.shape[2:] == tuple(shape[2:]) and blob.ndim == len(shape) == 4
    return kernel_alike and name.startswith("upscore") and blob.shape[:2] != tuple(shape[:2])


def _arrays(name: str, found: list[np.ndarray]) -> list[np.ndarray]:
    """Copy a layer's blobs to float32 arrays. Raises WeightsError if that would change them.

    NumPy would read text as numbers, drop imaginary parts, and make infinity of large values.
    """
    kinds = {np.asarray(blob).dtype.kind for blob in found if not isinstance(blob, list)}
    if wrong := kinds - set("fiu"):
        raise WeightsError(
            f"layer {name} has blobs that are not numeric arrays: of NumPy's kind {min(wrong)}"
        )
    try:
        with np.errstate(over="ignore"):  # told below
            arrays = [np.array(blob, dtype=np.float32, order="C") for blob in found]
    except (TypeError, ValueError) as error:
        raise WeightsError(f"layer {name} has blobs that are not numeric arrays: {error}") from None
    if not arrays or any(array.ndim == 0 for array in arrays):
        raise WeightsError(f"layer {name} has no blobs, or a blob without axes")
    if not all(np.isfinite(array).all() for array in arrays):
        raise WeightsError(
            f"layer {name} has NaN or infinity, or values too large for float32; use other weights"
        )
    return arrays


def _check_scales(ours: set[str], given: set[str]) -> None:
    """Raise WeightsError if the file and the net differ in which taps they scale."""
    scales = {name for name in ours | given if name.startswith("scale_")}
    file_is_fcn = any(name.startswith(("score", "upscore")) for name in given)
    if file_is_fcn and any((name in ours) != (name in given) for name in scales):
        raise WeightsError(
            f"{', '.join(sorted(scales))}: in {'the net' if scales & ours else 'the file'} only; "
            f"choose model={'fcn8s' if scales & ours else 'fcn8s_atonce'}: fcn8s_atonce scales its "
            "skips down, fcn8s does not"
        )


def _fit(
    name: str, targets: list[Tensor], found: list[np.ndarray], report: Transplant, *, first: bool
) -> list[tuple[Tensor, np.ndarray]]:
    if len(found) != len(targets):
        raise WeightsError(f"layer {name} has {len(found)} blobs; the net's has {len(targets)}")
    fitted = []
    for target, blob in zip(targets, found, strict=True):
        if first and _can_widen(target, blob):
            blob = widen(blob, target.shape[1])
            report.widened.append(name)
        if _can_spread(target, blob):
            blob = _spread(target, blob)
            report.spread.append(name)
        # A fully connected blob is (out, in * kh * kw), with leading axes of 1 in old files.
        flat = tuple(n for n in blob.shape if n != 1)
        same = flat == tuple(n for n in target.shape if n != 1)
        dense = blob.size == target.numel() and flat == (len(target), target[0].numel())
        if not (same or dense):
            raise WeightsError(
                f"layer {name} is {tuple(blob.shape)}; the net's is {tuple(target.shape)}: "
                "choose this backbone's file"
            )
        if _is_fully_connected(target, blob) and name not in report.reshaped:
            report.reshaped.append(name)
        fitted.append((target, blob))
    report.copied.append(name)
    return fitted


def _can_spread(target: Tensor, blob: np.ndarray) -> bool:
    """True if a filter is twice as wide as the blob's: fc6 after a pool5 of stride 1."""
    wide = target.ndim == 4 and target.shape[-1] % 2 == 0 and target.shape[-1] > 2
    return wide and blob.size * 4 == target.numel() and blob.size % target.shape[0] == 0


def _spread(target: Tensor, blob: np.ndarray) -> np.ndarray:
    """The blob's filters with zeros between weights, which keeps their receptive field."""
    wide = np.zeros(target.shape, dtype=np.float32)
    kernel = target.shape[-1] // 2
    wide[..., ::2, ::2] = blob.reshape(*target.shape[:2], kernel, kernel)
    return wide


def _is_fully_connected(target: Tensor, blob: np.ndarray) -> bool:
    """True if a convolution's weights are stored as a matrix, plain or with two axes of 1."""
    return target.ndim == 4 and (blob.ndim == 2 or (blob.shape[:2] == (1, 1) and len(target) > 1))


def _can_widen(target: Tensor, blob: np.ndarray) -> bool:
    """True if a blob holds colour filters for a first layer with more input channels."""
    if target.ndim != 4 or blob.ndim != 4 or blob.shape[1] != 3 or target.shape[1] == 3:
        return False
    return blob.shape[0] == target.shape[0] and blob.shape[2:] == tuple(target.shape[2:])


def _check_constant(name: str, constant: Constant, found: list[np.ndarray]) -> None:
    """Raise WeightsError if a fixed layer's blob differs from the values that the net uses."""
    expected = constant.blob().numpy()
    same_size = len(found) == 1 and found[0].size == expected.size
    if not same_size or not np.allclose(found[0].reshape(expected.shape), expected, atol=1e-6):
        what = "its bilinear kernel" if len(constant.shape) == 4 else f"{constant.value} throughout"
        raise WeightsError(
            f"layer {name} is fixed in this net, but the file's blob is not {what}: the file is "
            "from a net with learned upsampling (choose dense=deconv_learned, or dense=deconv_all "
            "if the last one was trained, too), or with another fusion depth"
        )
