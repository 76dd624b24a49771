"""Reading a run's checkpoint: plain values and tensors, never code."""

from pathlib import Path

from torch import Tensor, nn

from fcnexp.errors import OtherVersionError, WeightsError
from fcnexp.nn.weights.checkpoint_checks import check_entries, check_values
from fcnexp.nn.weights.safetensor_files import SUFFIX, read_safetensors
from fcnexp.nn.weights.state_dicts import what_it_is
from fcnexp.nn.weights.torch_files import read_torch

KERNEL = ".upsampling.kernel"  # end of the name of a learned upsampling
DECODER = ".levels."  # in the names of a DeconvNet's decoder
CHECKPOINT_VERSION = 3  # raise it when the entries of checkpoints besides weights change


def read_checkpoint(path: str | Path, *, mapped: bool = False, others: bool = False) -> dict:
    """Read a run's checkpoint, or a safetensors file exported from one, without running code.

    mapped: memory-map tensors, so that unused ones such as the optimiser's take no memory; the
    file must not change meanwhile. others: also return what other programs stored; see `is_ours`.
    Raises WeightsError if the file is missing, damaged or not a checkpoint of fcnexp, OSError if
    it cannot be read.
    """
    path = Path(path).expanduser()
    if path.suffix == SUFFIX:
        stored = read_safetensors(path, others=others)
    else:
        stored = read_torch(path, mapped=mapped, others=others)
    if not is_ours(stored):
        if others and isinstance(stored, dict):
            return stored
        raise WeightsError(
            f"{path}: a torch file, but not a checkpoint of fcnexp: {what_it_is(stored)}"
        )
    if not isinstance(stored["fcnexp"], dict):
        raise WeightsError(
            f"{path}: a state dict of python -m fcnexp.export, for use in other programs; give the "
            "checkpoints/*.ckpt that it was exported from"
        )
    version = stored["fcnexp"].get("version")
    if type(version) is not int or version != CHECKPOINT_VERSION:  # a tensor is no bool
        shown = version if isinstance(version, int | str) else type(version).__name__
        raise OtherVersionError(
            f"{path}: checkpoint version {shown}, but this fcnexp reads {CHECKPOINT_VERSION}; "
            "use the fcnexp that wrote it"
        )
    check_entries(stored, path)
    return stored


def is_ours(stored: object) -> bool:
    """Return True if the content of a torch file is a checkpoint of fcnexp, of any version."""
    return isinstance(stored, dict) and "fcnexp" in stored and "state_dict" in stored


def weights_of(stored: dict) -> dict[str, Tensor]:
    """Return the net's weights in a checkpoint, by their names in the net's state dict."""
    return {
        name.removeprefix("net."): tensor
        for name, tensor in stored["state_dict"].items()
        if name.startswith("net.")
    }


def with_weights(stored: dict, weights: dict[str, Tensor]) -> dict:
    """Return a checkpoint with other weights of the net."""
    return stored | {"state_dict": {f"net.{name}": value for name, value in weights.items()}}


def load_weights(net: nn.Module, stored: dict, path: str | Path) -> None:
    """Fill a net from a checkpoint. Raises WeightsError if a tensor does not fit."""
    _load(net, weights_of(stored), path)


def parent_weights(net: nn.Module, stored: dict, path: str | Path) -> dict[str, Tensor]:
    """Fill a net from a checkpoint of the same net, or of its parent.

    The parent of an FCN has fewer skips; that of a DeconvNet may be any FCN with the same backbone
    and head, whose score layers and skips are ignored. Learned upsampling that was fixed in the
    parent starts bilinear.
    Returns the parameters missing in the checkpoint, by name; they keep their values.
    Raises WeightsError if anything else is missing or does not fit.
    """
    weights, own = weights_of(stored), net.state_dict()
    if any(DECODER in name for name in own) and not any(DECODER in name for name in weights):
        weights = {name: value for name, value in weights.items() if _is_encoder(name)}
        missing = {name for name in own if not _is_encoder(name)}
    else:
        missing = {name for name in own if ".skips." in name and name not in weights}
        # The last upsampling's kernel has a different size at each fusion depth.
        kernels = [name for name in own if name.endswith(KERNEL)]
        missing |= {n for n in kernels if n not in weights or weights[n].shape != own[n].shape}
        _refuse_trained_kernels(set(weights) - set(own), path)
        weights = {name: value for name, value in weights.items() if name not in missing}
    _load(net, weights | {name: own[name] for name in missing}, path)
    return {name: value for name, value in net.named_parameters() if name in missing}


def _refuse_trained_kernels(surplus: set[str], path: str | Path) -> None:
    if kernels := sorted(name for name in surplus if name.endswith(KERNEL)):
        raise WeightsError(
            f"{path}: its upsampling was trained ({kernels[0]} ...); choose dense=deconv_learned "
            "with the same dense.learned"
        )


def _is_encoder(name: str) -> bool:
    return ".backbone." in name or (".head." in name and ".score_fr." not in name)


def refuse_other_net(net: nn.Module, stored: dict, path: str | Path) -> None:
    """Raise WeightsError if names or shapes differ; the net may be on the meta device."""
    _check_names_and_shapes(net, weights_of(stored), path)


def _load(net: nn.Module, weights: dict[str, Tensor], path: str | Path) -> None:
    _check_names_and_shapes(net, weights, path)
    own = net.state_dict()
    for name, value in weights.items():
        check_values(name, value, own[name], path)
    net.load_state_dict(weights)


def _check_names_and_shapes(net: nn.Module, weights: dict[str, Tensor], path: str | Path) -> None:
    own = net.state_dict()
    differ = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    problems = [
        f"size mismatch for {name}: {tuple(weights[name].shape)} in the file, "
        f"{tuple(own[name].shape)} in this net"
        for name in differ[:1]
    ]
    for names, what in (
        ([name for name in own if name not in weights], "missing in the file"),
        ([name for name in weights if name not in own], "only in the file"),
    ):
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        problems += [f"{what}: {name}{more}" for name in names[:1]]
    if problems:
        raise WeightsError(f"{path}: from a different net; {'; '.join(problems)}")
