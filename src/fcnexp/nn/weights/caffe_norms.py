"""Batch normalisation of Caffe nets, whichever of three layers they use, as torch's.

Caffe has `BatchNorm` (sums of means and variances, and their factor), followed by a `Scale`. Forks
have one layer, `BN`: with statistics, or, in DeconvNet's released file, with the statistics
multiplied into scale and shift.
"""

from collections.abc import Iterator

import numpy as np
from torch import Tensor, nn

from fcnexp.errors import WeightsError
from fcnexp.nn.streams import Network
from fcnexp.nn.weights.caffe_names import SUFFIX


def norms(net: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """Return a net's batch normalisations that have an original name, by that name."""
    found: dict[str, nn.BatchNorm2d] = {}
    if not isinstance(net, Network):
        return found
    for field, scorer in net.scorers().items():
        suffix = SUFFIX.get(field, field) if len(net.streams) > 1 else ""
        for part in (scorer.backbone, scorer.head, scorer):
            own: dict[str, nn.BatchNorm2d] = getattr(part, "norms", dict)()
            found |= {name + suffix: norm for name, norm in own.items()}
    return found


def tensors(norm: nn.BatchNorm2d) -> list[Tensor]:
    """Return scale, shift, mean and variance."""
    assert norm.running_mean is not None and norm.running_var is not None
    return [norm.weight, norm.bias, norm.running_mean, norm.running_var]


def as_torch(net: nn.Module, given: dict[str, list[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """Return a file's blobs with scale, shift, mean and variance under the name of each norm.

    Other layers stay as they are. Raises WeightsError naming a layer that is incomplete.
    """
    result = dict(given)
    for name, norm in norms(net).items():
        source = next((each for each in _names(name) if each in result), None)
        if source is None:
            continue
        blobs = result.pop(source)
        if len(blobs) == 3:
            scale = next((each for each in _scale_names(name) if each in result), None)
            if scale is None:
                raise WeightsError(
                    f"layer {source} is a BatchNorm, but the file has no Scale for it; allowed "
                    f"names are {', '.join(list(_scale_names(name))[:3])} ...: give a whole file"
                )
            result[name] = [*_two(scale, result.pop(scale)), *_statistics(source, blobs)]
        elif len(blobs) == 4:
            result[name] = blobs
        else:
            scale_and_shift = _two(source, blobs)
            # torch adds eps to the variance before it takes the root.
            ones = np.ones_like(scale_and_shift[0])
            result[name] = [*scale_and_shift, 0 * ones, (1 - norm.eps) * ones]
    return result


def _statistics(name: str, blobs: list[np.ndarray]) -> list[np.ndarray]:
    """Mean and variance of Caffe's `BatchNorm`, which stores their sums and a factor."""
    mean, variance, factor = blobs
    if factor.size != 1 or factor.item() <= 0:
        raise WeightsError(f"layer {name} holds no statistics: its net was never trained")
    return [mean / factor.item(), variance / factor.item()]


def _two(name: str, blobs: list[np.ndarray]) -> list[np.ndarray]:
    if len(blobs) != 2:
        raise WeightsError(f"layer {name} has {len(blobs)} blobs; it needs 2: scale and shift")
    return blobs


def _layer(name: str) -> str:
    """Name of the layer that a norm follows: conv1_1 for bn1_1, fc6 for bnfc6."""
    if name.endswith("-bn"):
        return name.removesuffix("-bn")
    plain = name.replace("bn", "", 1)
    for short, long in (("de", "deconv"), ("fc", "fc"), ("", "conv")):
        if plain.startswith(short):
            return long + plain.removeprefix(short)
    raise AssertionError(name)


def _names(name: str) -> Iterator[str]:
    """Names that Caffe nets give to a norm: DeconvNet's, then those of other nets."""
    layer = _layer(name)
    yield from (name, f"{layer}/bn", f"{layer}_bn", f"{layer}-bn", f"bn_{layer}")


def _scale_names(name: str) -> Iterator[str]:
    layer = _layer(name)
    yield from (name.replace("bn", "scale", 1), f"{name}/scale", f"{name}_scale", f"{name}-scale")
    yield from (f"{layer}/scale", f"{layer}_scale", f"{layer}-scale", f"scale_{layer}")
